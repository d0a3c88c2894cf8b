"""Open documents, as the editor has them: unsaved text included.

In: open, change and close notifications. Out: `Document`s.

Notable: pygls would keep them too (see `protocol`), with two faults that matter here: its idea of a line (see
`positions`), and its time: a request's handler runs after the next change when both come in one packet.
This store is changed only in coroutines, which start in the order of their messages, so that a request sees
the text that its position belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lsprotocol.types import TextDocumentContentChangeEvent, TextDocumentItem
from pygls.uris import to_fs_path, uri_scheme, urlparse

from codefilter_lsp.positions import Lines


@dataclass(frozen=True)
class Document:
    """One open document at one moment."""

    uri: str
    path: Path | None  # None: untitled, or of another scheme than file
    language_id: str  # the editor's name of the language
    text: str


class Edit(NamedTuple):
    """What replaced what, in code points of the text before it; what both begin with does not count."""

    start: int
    end: int
    new_length: int


def path_of(uri: str) -> Path | None:
    """The file that a URI names, or None where it names none."""
    path = to_fs_path(uri) if uri_scheme(uri) == "file" else None
    return Path(path) if path else None


def path_in(uri: str) -> PurePosixPath:
    """The path that a URI of any scheme has: ``/w/new.py`` of ``untitled:/w/new.py``."""
    return PurePosixPath(urlparse(uri)[2])


class Documents:
    """All open documents by URI."""

    def __init__(self) -> None:
        self._by_uri: dict[str, Document] = {}

    def __iter__(self) -> Iterator[Document]:
        return iter(list(self._by_uri.values()))

    def get(self, uri: str) -> Document | None:
        """The open document, or None."""
        return self._by_uri.get(uri)

    def open(self, item: TextDocumentItem) -> Document:
        """Take a document that the editor opened."""
        document = Document(item.uri, path_of(item.uri), item.language_id, item.text)
        self._by_uri[item.uri] = document
        return document

    def change(
        self, uri: str, changes: Sequence[TextDocumentContentChangeEvent], encoding: str
    ) -> tuple[Document, list[Edit]] | None:
        """Apply changes in order; None for a document that was never opened."""
        document = self._by_uri.get(uri)
        if document is None:
            return None
        lines, edits = Lines(document.text, encoding), []
        for change in changes:
            start, old = lines.change(change)
            same = _num_same(old, change.text)
            edits.append(Edit(start + same, start + len(old), len(change.text) - same))
        document = replace(document, text=lines.text)
        self._by_uri[uri] = document
        return document, edits

    def close(self, uri: str) -> Document | None:
        """Forget a document and return it as it was."""
        return self._by_uri.pop(uri, None)


def _num_same(first: str, second: str) -> int:
    """How many characters both begin with."""
    for number, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return number
    return min(len(first), len(second))

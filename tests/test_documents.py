"""Texts of documents after any edits equal those of a reference that works on encoded bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol.types import (
    Position,
    Range,
    TextDocumentContentChangeEvent,
    TextDocumentContentChangePartial,
    TextDocumentContentChangeWholeDocument,
    TextDocumentItem,
)

from codefilter_lsp.documents import Documents, Edit
from tests.test_positions import ENCODINGS, reference_offset

URI = "file:///a.py"
EDITS_PER_DOCUMENT = 50
DOCUMENTS = 200  # for each of them so many edits: ten thousand

# Letters, line ends of all kinds, tabs, emoji (two UTF-16 units), a flag and a family of several code points,
# combining marks, and what Python takes for a line end but the protocol does not.
PIECES = [
    "a",
    "b",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "é",
    "e\u0301",
    "😀",
    "🇪🇺",
    "👩‍👩‍👧",
    "漢",
    "\u2028",
    "\f",
    "\x85",
    "\x1c",
]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
positions = st.tuples(st.integers(0, 8), st.integers(0, 14))
changes = st.tuples(positions, positions, texts)


def reference_edit(text: str, start: tuple[int, int], end: tuple[int, int], new: str, encoding: str) -> str:
    """What the protocol says of one edit, by cutting encoded lines."""
    ends = [reference_offset(text, *place, encoding) for place in (start, end)]
    return text[: ends[0]] + new + text[max(ends) :]


@settings(max_examples=DOCUMENTS)
@given(
    text=texts,
    edits=st.lists(changes, min_size=EDITS_PER_DOCUMENT, max_size=EDITS_PER_DOCUMENT),
    encoding=st.sampled_from(ENCODINGS),
)
def test_edits(text: str, edits: list[tuple[tuple[int, int], tuple[int, int], str]], encoding: str) -> None:
    documents = Documents()
    documents.open(TextDocumentItem(URI, "python", 1, text))
    for start, end, new in edits:
        start, end = sorted((start, end))
        text = reference_edit(text, start, end, new, encoding)
        change = TextDocumentContentChangePartial(Range(Position(*start), Position(*end)), new)
        changed = documents.change(URI, [change], encoding)
        assert changed is not None
        assert changed[0].text == text


def test_an_edit_begins_where_the_texts_differ() -> None:
    documents = Documents()
    documents.open(TextDocumentItem(URI, "python", 1, "x = comp\n"))
    word = Range(Position(0, 4), Position(0, 8))  # as an item of the completion menu replaces it
    changed = documents.change(URI, [TextDocumentContentChangePartial(word, "compute_width(box)")], "utf-16")
    assert changed is not None
    assert changed[0].text == "x = compute_width(box)\n"
    assert changed[1] == [Edit(8, 8, 14)]


@given(
    text=texts,
    edits=st.lists(st.one_of(changes, texts), min_size=1, max_size=8),
    encoding=st.sampled_from(ENCODINGS),
)
def test_several_edits_in_one_notification(
    text: str, edits: list[tuple[tuple[int, int], tuple[int, int], str] | str], encoding: str
) -> None:
    documents = Documents()
    documents.open(TextDocumentItem(URI, "python", 1, text))
    sent: list[TextDocumentContentChangeEvent] = []
    for edit in edits:
        if isinstance(edit, str):
            text = edit
            sent.append(TextDocumentContentChangeWholeDocument(edit))
            continue
        start, end = sorted(edit[:2])
        text = reference_edit(text, start, end, edit[2], encoding)
        sent.append(TextDocumentContentChangePartial(Range(Position(*start), Position(*end)), edit[2]))
    changed = documents.change(URI, sent, encoding)
    assert changed is not None
    document, spans = changed
    assert document.text == text
    assert len(spans) == len(edits)

"""One folder of the editor: its settings, its index, and what completes in it.

In: documents and places in them, changes. Out: requests and suggestions.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path

from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.errors import UsageError
from codefilter.index import RepositoryIndex
from codefilter.languages import get_language, language_of
from codefilter.lm.base import Cancellation
from codefilter.source import IGNORE_FILES, SkipReason, is_secret, is_skipped_folder, skip_reason
from codefilter.types import CompletionRequest
from codefilter_lsp.checkout import checkout_of
from codefilter_lsp.documents import Document, path_in
from codefilter_lsp.models import LoadedModel, Models
from codefilter_lsp.positions import with_plain_line_ends
from codefilter_lsp.settings import EditorOptions
from codefilter_lsp.suggesting import Suggester

MANY_FILES = 200  # beyond it, as after a switch of branches, looking at the whole folder is quicker
_IGNORED = (SkipReason.IGNORED, SkipReason.FOLDER)
_NOT_COMPLETED = (SkipReason.SECRET, *_IGNORED)


@dataclass
class Changes:
    """What the index does not know yet. Paths are as the index has them."""

    documents: dict[str, str | None] = field(default_factory=dict)  # None: closed or saved, so as on disk
    files: set[str] = field(default_factory=set)  # changed on disk, by whomever
    everything: bool = False  # as after a switch of branches

    def __bool__(self) -> bool:
        return bool(self.documents or self.files or self.everything)

    def apply(self, index: RepositoryIndex, stopping: Cancellation) -> set[str]:
        """Bring the index up to date. For the index's thread only.

        Returns:
            The paths whose text is another now; an empty one among them stands for any number.
        """
        changed = {path for path, text in self.documents.items() if index.update_file(path, text)}
        files = set() if self.everything else _without_ignored(self.files, index)
        if gone := tuple(f"{path}/" for path in files if not (index.root / path).exists()):
            files.update(path for path in index.paths if path.startswith(gone))  # a whole folder is gone
        on_disk = [*files, *(path for path, text in self.documents.items() if text is None)]
        if (
            self.everything
            or len(files) > MANY_FILES
            or any(path.endswith(IGNORE_FILES) for path in on_disk)
            or any(_is_new_folder(path, index) for path in files)  # renamed, or moved in from elsewhere
        ):
            report = index.refresh(progress=lambda done, total: stopping.raise_if_cancelled())
            return changed | {""} if report.num_read or report.num_removed else changed
        return changed | {path for path in files if index.update_file(path)}


def _without_ignored(files: set[str], index: RepositoryIndex) -> set[str]:
    """Files that the index may have to look at: not what builds write into ignored folders all the time.

    Of very many only as many as make a look at the whole folder quicker.
    """
    known = set[str]()  # files of the index, and the folders above them
    for path in index.paths:
        while path and path not in known:
            known.add(path)
            path = path.rpartition("/")[0]

    @cache
    def is_ignored(path: str) -> bool:
        folder = path.rpartition("/")[0]
        if folder and is_ignored(folder):
            return True
        if path in known:
            return False  # it was not ignored before
        inside = "/x" if (index.root / path).is_dir() else ""  # a file is judged with the folders above it
        return skip_reason(index.root, f"{path}{inside}") in _IGNORED

    left = (path for path in files if path.endswith(IGNORE_FILES) or not is_ignored(path))
    return set(islice(left, MANY_FILES + 1))


def _is_new_folder(path: str, index: RepositoryIndex) -> bool:
    """Whether it is a folder without a file in the index; some editors tell of every folder all the time."""
    return (index.root / path).is_dir() and not any(known.startswith(f"{path}/") for known in index.paths)


class Folder:
    """One folder of the editor's workspace, or what lies outside all of them."""

    def __init__(self, root: Path | None, settings: Settings) -> None:
        self.root = root
        self.settings = settings
        self.options = EditorOptions()
        self.index: RepositoryIndex | None = None
        self.chunker: str | None = None  # with which an index was opened last, or would have been
        self.is_opening = False
        self.stopping = Cancellation()  # the editor has no such folder any more, or is gone itself
        self.changes = Changes()
        self._num_changes = 0
        self._num_own_changes: Counter[str] = Counter()
        self._suggester: Suggester | None = None
        self._suggester_for: tuple[RepositoryIndex | None, LoadedModel, Settings] | None = None
        self._checkout = checkout_of(root) if root else ""

    def relative(self, path: Path) -> str:
        """The path as the editor has it."""
        return path.name if self.root is None else path.relative_to(self.root).as_posix()

    def real_relative(self, path: Path) -> str:
        """The path as the index has it: where links lead, if that lies inside."""
        if self.root is not None:
            real, root = (Path(os.path.realpath(one)) for one in (path, self.root))
            if real.is_relative_to(root):
                return real.relative_to(root).as_posix()
        return self.relative(path)

    def note_change(self, path: str = "") -> None:
        """What a file says has changed; without a path, what many may say."""
        self._num_changes += 1
        self._num_own_changes[path] += 1

    def context_version(self, path: str) -> int:
        """Grows when what files other than this one say may have changed."""
        return self._num_changes - self._num_own_changes[path]

    def why_not(self, document: Document) -> str:
        """Why a document is not completed: its text must not reach a prompt. Empty where it may."""
        if document.path is None:
            return SkipReason.SECRET.value if is_secret(path_in(document.uri).as_posix()) else ""
        real = Path(os.path.realpath(document.path))  # a link may have any name
        if is_secret(document.path.as_posix()) or is_secret(real.as_posix()):
            return SkipReason.SECRET.value
        if self.root is None:
            return ""
        paths = {self.relative(document.path), self.real_relative(document.path)}
        try:
            reasons = {skip_reason(self.root, path) for path in paths}
        except UsageError:  # no such folder, not yet or not any more: names are all there is
            folders = [name for path in paths for name in path.split("/")[:-1]]
            reasons = {SkipReason.FOLDER if any(map(is_skipped_folder, folders)) else None}
        return next((reason.value for reason in _NOT_COMPLETED if reason in reasons), "")

    def forget_model(self) -> None:
        """Let go of the model. For the model's thread only."""
        self._suggester = self._suggester_for = None

    def suggester(self, models: Models) -> Suggester:
        """What completes places of this folder with its settings. For the model's thread only."""
        settings, index = self.settings, self.index
        loaded = models.get(settings)
        if self._suggester is None or self._suggester_for != (index, loaded, settings):
            self._suggester = Suggester(Completer(index, loaded.model, settings), loaded.model, loaded.cost)
            self._suggester_for = (index, loaded, settings)
        return self._suggester

    def make_request(self, document: Document, offset: int) -> CompletionRequest:
        """The request for a place in an open document."""
        if document.path is not None:
            path = self.real_relative(document.path)
            language = language_of(path, document.text)
        else:
            path = path_in(document.uri).name or "untitled"
            language = document.language_id if get_language(document.language_id) else "text"
        return CompletionRequest(
            path=path,
            prefix=with_plain_line_ends(document.text[:offset]),
            suffix=with_plain_line_ends(document.text[offset:]),
            language=language,
            max_new_tokens=self.settings.max_new_tokens,
            max_lines=self.settings.max_lines,
        )

    def has_other_commit(self) -> bool:
        """Whether git has checked out something else since the last call: then all files may have changed."""
        before, self._checkout = self._checkout, checkout_of(self.root) if self.root else ""
        return self._checkout != before

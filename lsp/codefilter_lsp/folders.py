"""One folder of the editor: its settings and its index; and the models that folders share.

In: documents and places in them. Out: completions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.errors import CodeFilterError
from codefilter.index import RepositoryIndex
from codefilter.languages import get_language, language_of
from codefilter.lm.base import Cancellation, LanguageModel
from codefilter.lm.loading import load_model
from codefilter.types import Completion, CompletionRequest
from codefilter_lsp.documents import Document
from codefilter_lsp.positions import with_plain_line_ends

MODEL_RETRY_SECONDS = 10.0
IGNORE_FILES = (".gitignore", ".codefilterignore")
MANY_FILES = 200  # beyond it, as after a switch of branches, looking at the whole folder is quicker


class Models:
    """Loaded models by what the settings ask for. For the model's thread only."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, ...], LanguageModel] = {}
        self._failed: dict[tuple[str, ...], tuple[float, CodeFilterError]] = {}

    def get(self, settings: Settings) -> LanguageModel:
        """The model, loaded on the first call; a failure counts for some seconds, then it is tried again."""
        key = (settings.model, settings.engine, settings.device, settings.dtype)
        if key not in self._loaded:
            failed_at, failure = self._failed.get(key, (0.0, None))
            if failure is not None and time.monotonic() < failed_at + MODEL_RETRY_SECONDS:
                raise failure
            try:
                self._loaded[key] = load_model(
                    settings.model, engine=settings.engine, device=settings.device, dtype=settings.dtype
                )
            except CodeFilterError as error:
                self._failed[key] = (time.monotonic(), error)
                raise
        return self._loaded[key]


@dataclass
class Changes:
    """What the index does not know yet. Paths are as the index has them."""

    documents: dict[str, str | None] = field(default_factory=dict)  # None: closed or saved, so as on disk
    files: set[str] = field(default_factory=set)  # changed on disk, by whomever

    def __bool__(self) -> bool:
        return bool(self.documents or self.files)

    def apply(self, index: RepositoryIndex, stopping: Cancellation) -> None:
        """Bring the index up to date. For the index's thread only."""
        for path, text in self.documents.items():
            index.update_file(path, text)
        files = set(self.files)
        if gone := tuple(f"{path}/" for path in files if not (index.root / path).exists()):
            files.update(path for path in index.paths if path.startswith(gone))  # a whole folder is gone
        if len(files) > MANY_FILES or any(path.endswith(IGNORE_FILES) for path in files):
            index.refresh(progress=lambda done, total: stopping.raise_if_cancelled())
            return
        for path in files:
            index.update_file(path)


class Folder:
    """One folder of the editor's workspace, or what lies outside all of them."""

    def __init__(self, root: Path | None, settings: Settings) -> None:
        self.root = root
        self.settings = settings
        self.index: RepositoryIndex | None = None
        self.is_opening = False
        self.changes = Changes()
        self._completer: Completer | None = None
        self._completer_index: RepositoryIndex | None = None

    def relative(self, path: Path) -> str:
        """The path as the index knows it."""
        return path.name if self.root is None else path.relative_to(self.root).as_posix()

    def complete(self, models: Models, request: CompletionRequest, cancellation: Cancellation) -> Completion:
        """Complete one place with this folder's settings. For the model's thread only."""
        cancellation.raise_if_cancelled()
        model, index = models.get(self.settings), self.index
        if self._completer is None or self._completer_index is not index:
            self._completer, self._completer_index = Completer(index, model, self.settings), index
        return self._completer.complete(request, cancellation)

    def make_request(self, document: Document, offset: int) -> CompletionRequest:
        """The request for a place in an open document."""
        if document.path is not None:
            path = self.relative(document.path)
            language = language_of(path)
        else:
            path = document.uri.rpartition(":")[2].rpartition("/")[2] or "untitled"
            language = document.language_id if get_language(document.language_id) else "text"
        return CompletionRequest(
            path=path,
            prefix=with_plain_line_ends(document.text[:offset]),
            suffix=with_plain_line_ends(document.text[offset:]),
            language=language,
            max_new_tokens=self.settings.max_new_tokens,
            max_lines=self.settings.max_lines,
        )

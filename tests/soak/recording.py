"""The server as it is, but what its model reads is searched for what must never be there.

``python -m tests.soak.recording FOLDER`` is `codefilter-lsp` whose prompts leave one line each in the file
``prompts``: their length, and every word of the form ``CANARY_...`` or ``VISIBLE_...`` in them. The texts of
documents leave theirs in ``documents``, after every change: a digest, to compare with the editor's. Work that
was cancelled while it ran leaves in ``stops`` how many milliseconds it still took.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsprotocol.types import TextDocumentItem

import codefilter_lsp.models
import codefilter_lsp.scheduling
import codefilter_lsp.server
import codefilter_lsp.workspace
from codefilter.lm.base import Cancellation, LanguageModel
from codefilter.types import content_hash
from codefilter_lsp.__main__ import main
from codefilter_lsp.answering import Answering
from codefilter_lsp.documents import Document, Documents, Edit
from codefilter_lsp.folders import Folder
from codefilter_lsp.suggesting import Suggestions, Wanted

PLANTED = re.compile(r"(?:CANARY|VISIBLE)_[a-z]+")


def recording(model: LanguageModel, file: Path) -> LanguageModel:
    """The model, which notes what it reads."""

    def note(token_ids: Sequence[int]) -> None:
        text = model.tokenizer.decode(token_ids)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(" ".join([str(len(text)), *sorted(set(PLANTED.findall(text)))]) + "\n")

    generate, log_likelihoods = model.generate, model.log_likelihoods

    def noting_generate(prompt_ids: Sequence[int], *arguments: Any, **options: Any) -> Any:
        note(prompt_ids)
        return generate(prompt_ids, *arguments, **options)

    def noting_log_likelihoods(context: Sequence[int], continuations: Any, *arguments: Any) -> Any:
        for continuation in continuations:
            note([*context, *continuation.token_ids])
        return log_likelihoods(context, continuations, *arguments)

    model.generate = noting_generate  # type: ignore[method-assign]
    model.log_likelihoods = noting_log_likelihoods  # type: ignore[method-assign]
    return model


def digest(text: str) -> str:
    """What is noted of a document's text."""
    return content_hash(text)[:16]


class NotingDocuments(Documents):
    """Documents whose texts are noted."""

    file: Path

    def open(self, item: TextDocumentItem) -> Document:
        return self._note(super().open(item))

    def change(self, *arguments: Any) -> tuple[Document, list[Edit]] | None:
        changed = super().change(*arguments)
        if changed is not None:
            self._note(changed[0])
        return changed

    def _note(self, document: Document) -> Document:
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(f"{digest(document.text)} {document.uri}\n")
        return document


class TimedCancellation(Cancellation):
    """A flag that knows when it was set."""

    cancelled_at: float | None = None

    def cancel(self) -> None:
        if self.cancelled_at is None:
            self.cancelled_at = time.perf_counter()
        super().cancel()


class NotingAnswering(Answering):
    """Answering, which notes how soon its work stops."""

    file: Path

    def _suggest(self, folder: Folder, wanted: Wanted, cancellation: Cancellation) -> Suggestions:
        try:
            return super()._suggest(folder, wanted, cancellation)
        finally:
            if isinstance(cancellation, TimedCancellation) and cancellation.cancelled_at is not None:
                took_ms = 1000 * (time.perf_counter() - cancellation.cancelled_at)
                with self.file.open("a", encoding="utf-8") as lines:
                    lines.write(f"{took_ms:.3f}\n")


if __name__ == "__main__":
    record, NotingDocuments.file, NotingAnswering.file = (
        Path(sys.argv[1]) / name for name in ("prompts", "documents", "stops")
    )
    codefilter_lsp.scheduling.Cancellation = TimedCancellation  # type: ignore[misc]
    codefilter_lsp.server.Answering = NotingAnswering  # type: ignore[misc]
    codefilter_lsp.workspace.Documents = NotingDocuments  # type: ignore[misc]
    load = codefilter_lsp.models.load_configured_model
    codefilter_lsp.models.load_configured_model = lambda settings: recording(  # type: ignore[attr-defined]
        load(settings), record
    )
    sys.argv[1:] = []
    sys.exit(main())

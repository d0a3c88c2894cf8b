"""Feedback: what became of the texts that were shown, noted on this machine.

In: answers, what the editor says of them, edits. Out: records in the user's `FeedbackStore`, unless that is
switched off.

Notable: most editors only say that a text was accepted. One that stood for a moment and was not accepted
counts as rejected once something else is asked for; and what stands in the place when the file is saved, or
some time later, tells what the person wanted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from codefilter.config import Settings
from codefilter.errors import CodeFilterError
from codefilter.feedback import LINES_AROUND, FeedbackRecord, FeedbackStore, Outcome
from codefilter_lsp.answers import Answer
from codefilter_lsp.documents import Documents, Edit
from codefilter_lsp.folders import Folder
from codefilter_lsp.positions import from_utf16_length, with_plain_line_ends
from codefilter_lsp.tracking import Span

_log = logging.getLogger(__name__)

SEEN_SECONDS = 0.75  # shorter, and nobody has read it
SETTLED_SECONDS = 120.0
_MOST_OFFERS = 64


@dataclass
class _Offer:
    """One text on its way to a record. It holds the lines around the cursor, not the document."""

    uri: str
    folder: Folder
    record: FeedbackRecord  # as it would be if nothing more happened
    num_typed_before: int  # characters of the document before the cursor
    span: Span
    offered_at: float = field(default_factory=time.monotonic)
    outcome: Outcome = Outcome.SHOWN
    decided_at: float = 0.0  # when that was last known to be another
    text: str = ""
    is_shown: bool = False
    accepted_characters: int = 0
    is_lost: bool = False  # an edit reached over its edge

    @property
    def is_open(self) -> bool:
        """Whether the editor may still show it."""
        return self.outcome is Outcome.SHOWN

    def decide(self, outcome: Outcome) -> None:
        """Note what became of it; what stands in its place is looked at some time from now."""
        self.outcome, self.decided_at = outcome, time.monotonic()


class FeedbackRecorder:
    """The feedback of one editor. For the event loop's thread only; another one writes."""

    def __init__(self, documents: Documents) -> None:
        self._has_failed = self._has_ended = False
        self._documents = documents
        self._offers: dict[str, _Offer] = {}  # by the id of the model's answer
        self._thread = ThreadPoolExecutor(1, "codefilter-feedback")
        self._store: FeedbackStore | None = None

    def offered(self, answer: Answer, folder: Folder) -> None:
        """An answer with a text is sent to the editor."""
        if not self._is_on(folder):
            return
        for origin_id, other in self._offers.items():
            if other.uri == answer.uri and other.is_open and origin_id != answer.origin_id:
                if other.is_shown or time.monotonic() - other.offered_at > SEEN_SECONDS:
                    other.decide(Outcome.REJECTED)
                else:
                    other.is_lost = True  # it never stood long enough to be read
        if answer.origin_id not in self._offers:
            self._offers[answer.origin_id] = _Offer(
                answer.uri,
                folder,
                _first_record(answer, folder.root, folder.settings),
                len(answer.request.prefix),
                Span(answer.offset, answer.offset),
                text=answer.texts[0],
            )
        surplus = {id(offer) for offer in list(self._offers.values())[:-_MOST_OFFERS]}
        self._settle(lambda offer: (offer.is_lost and offer.is_open) or id(offer) in surplus)

    def shown(self, answer: Answer) -> None:
        """The editor says that it shows a text."""
        if (offer := self._offers.get(answer.origin_id)) is not None:
            offer.is_shown = True

    def accepted(self, answer: Answer, number: int, utf16_length: int | None = None) -> None:
        """The user took a text, or so much of it."""
        offer = self._offers.get(answer.origin_id)
        if offer is None or not 0 <= number < len(answer.texts):
            return
        text = answer.texts[number]
        typed = answer.request.prefix[offer.num_typed_before :]
        taken = len(text) if utf16_length is None else from_utf16_length(text, utf16_length)
        offer.text = typed + text
        offer.accepted_characters = max(offer.accepted_characters, len(typed) + taken)
        whole = offer.accepted_characters >= len(offer.text)
        offer.decide(Outcome.ACCEPTED if whole else Outcome.PARTLY_ACCEPTED)

    def edited(self, uri: str, edits: list[Edit]) -> None:
        """A document was changed."""
        for offer in self._offers.values():
            if offer.uri == uri:
                for edit in edits:
                    offer.is_lost = not offer.span.edit(*edit) or offer.is_lost
        settled = time.monotonic() - SETTLED_SECONDS
        self._settle(lambda offer: offer.is_lost or (not offer.is_open and offer.decided_at < settled))

    def saved(self, uri: str) -> None:
        """A document is as its user wants it, or about to be closed."""
        self._settle(lambda offer: offer.uri == uri and not offer.is_open)

    def closed(self, uri: str) -> None:
        """A document is about to be closed."""
        self._settle(lambda offer: offer.uri == uri)

    async def delete(self) -> None:
        """Forget all that was noted, here and on the disk; `CodeFilterError` where that failed."""
        self._offers.clear()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._write, lambda store: store.delete())

    def end(self) -> None:
        """Write what is left."""
        if not self._has_ended:
            self._has_ended = True
            self._settle(lambda offer: True)
            self._thread.submit(self._close)
            self._thread.shutdown(wait=False)

    def _is_on(self, folder: Folder) -> bool:
        """Whether feedback is kept: that may be switched off before a text has become a record."""
        return folder.options.feedback and not self._has_failed

    def _settle(self, is_due: Callable[[_Offer], bool]) -> None:
        due = [key for key, offer in self._offers.items() if is_due(offer)]
        for offer in [self._offers.pop(key) for key in due]:
            seen = offer.is_shown or time.monotonic() - offer.offered_at > SEEN_SECONDS
            if self._is_on(offer.folder) and (seen or not offer.is_open):
                record = self._record(offer)
                self._thread.submit(self._write, partial(FeedbackStore.put, record=record))

    def _record(self, offer: _Offer) -> FeedbackRecord:
        document, final = self._documents.get(offer.uri), None
        if document is not None and not offer.is_lost:
            final = with_plain_line_ends(document.text[offer.span.start : offer.span.end])
        outcome = offer.outcome
        if outcome is Outcome.ACCEPTED and final is not None and final != offer.text:
            if final.startswith(f"{offer.text}\n"):
                final = offer.text  # what was typed below is something else
            else:
                outcome = Outcome.EDITED
        if outcome is Outcome.REJECTED and final is not None and final.startswith(offer.text):
            outcome = Outcome.SHOWN  # it was typed to its end by hand: not taken, but not wrong either
        return replace(
            offer.record,
            time=time.time(),
            text=offer.text,
            outcome=outcome,
            accepted_characters=offer.accepted_characters,
            final_text=final,
        )

    def _write(self, work: Callable[[FeedbackStore], object]) -> None:
        """In the thread: open the store if need be, and write. A failure switches feedback off."""
        try:
            self._store = self._store or FeedbackStore()
            work(self._store)
        except CodeFilterError as error:
            self._has_failed = True
            _log.warning("%s; feedback is off", error.message)
            raise

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()


def _first_record(answer: Answer, root: Path | None, settings: Settings) -> FeedbackRecord:
    """What is known when a text is offered."""
    request, suggestions = answer.request, answer.suggestions
    completion = suggestions.completion if suggestions is not None else None
    return FeedbackRecord(
        record_id=answer.answer_id,
        time=time.time(),
        repository=str(root.resolve()) if root is not None else "",  # as the commands look for it
        path=request.path,
        language=request.language,
        before="\n".join(request.prefix.split("\n")[-LINES_AROUND:]),
        after="\n".join(request.suffix.split("\n")[:LINES_AROUND]),
        text=answer.texts[0],
        outcome=Outcome.SHOWN,
        accepted_characters=0,
        final_text=None,
        model=settings.model,
        filter=settings.filter,
        retrieved=len(completion.decisions) if completion else 0,
        used=len(completion.prompt.chunk_ids) if completion else 0,
    )

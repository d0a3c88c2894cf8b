"""Requests → answers: who may be asked, whether the model has to be, how long one waits.

In: a document and a place in it, from the server's event loop. Out: an `Answer`, always, with a reason
where it holds no text; or `asyncio.CancelledError` where a newer request took its place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from codefilter.config import Settings
from codefilter.errors import CancelledError
from codefilter.filters.base import worth_showing
from codefilter.lm.base import Cancellation
from codefilter.lm.remote.endpoint import is_remote
from codefilter_lsp.answers import Answer, Answers, Origin, Source
from codefilter_lsp.background import Background, Editor
from codefilter_lsp.documents import Document, path_of
from codefilter_lsp.feedback import FeedbackRecorder
from codefilter_lsp.folders import Folder
from codefilter_lsp.models import Models
from codefilter_lsp.pace import Pace
from codefilter_lsp.reuse import Reuse
from codefilter_lsp.scheduling import NewestWins
from codefilter_lsp.settings import EditorOptions
from codefilter_lsp.status import Kind, Status
from codefilter_lsp.suggesting import Suggestions, Wanted
from codefilter_lsp.workspace import Workspace


class Answering:
    """The model's thread and what is in front of it. For the event loop's thread only."""

    def __init__(self, editor: Editor, files: Workspace, background: Background) -> None:
        self.answers = Answers()
        self.feedback = FeedbackRecorder(files.documents)
        self._pace = Pace()
        self._editor = editor
        self._files = files
        self._background = background
        self._models = Models(background.stopping, self._make_room)
        self._model_thread = ThreadPoolExecutor(1, "codefilter-model")
        self._requests = NewestWins(self._model_thread)
        self._reuse: Reuse[Origin] = Reuse()
        self._is_warm = False
        self._snoozed_until = float("-inf")
        self._snooze_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._num_measuring = 0
        self._is_completing = False
        self._status = Status("starting", busy=True)  # but for what `status` puts before it

    @property
    def status(self) -> Status:
        """What goes on at the moment."""
        if (reason := self._why_off(None)) is not None:
            return Status(reason, Kind.INACTIVE)
        return Status("completing", busy=True) if self._is_completing else self._status

    def show_status(self) -> None:
        """Show what goes on: also after the settings changed, which may switch completions on or off."""
        self._editor.show_status(self.status)

    def snooze(self, minutes: float) -> None:
        """Show nothing for some minutes; 0 ends it."""
        _stop(self._snooze_timer)
        self._snoozed_until = time.monotonic() + 60 * minutes
        self._snooze_timer = asyncio.get_running_loop().call_later(60 * minutes, self.show_status)
        self.show_status()

    def warm_up(self, document: Document) -> None:
        """Load the model in the background, unless it is loaded: a document was opened, or typing goes on."""
        if not self._is_warm and self._why_off(document) is None:
            self._is_warm = True
            settings = self._files.folder_of(document.path).settings
            self._background.start(f"loading {settings.model}", self._load_model, settings)

    async def answer(self, document: Document, offset: int, kind: str, *, explicit: bool = False) -> Answer:
        """Complete the place at an offset in code points.

        A newer request of the same kind cancels this one. `explicit`: the user asked for it, and gets
        several.
        """
        started = time.perf_counter()
        self._requests.supersede(kind)  # also where this one needs no model
        self._files.look_for_other_commit()
        folder = self._files.folder_of(document.path)
        request = folder.make_request(document, offset)
        answer = Answer(document.uri, offset, request, kind)
        if why_not := self._why_off(document) or folder.why_not(document):
            return self._finish(replace(answer, source=Source.NOBODY, reason=why_not), started, folder)
        options = folder.options
        context = (folder.root, folder.settings, folder.context_version(request.path), options.block_lines)
        known = None if explicit else self._reuse.get(context, request)
        if known is not None and (known.typed or not known.origin.is_shortened):
            source = Source.TYPED_ALONG if known.typed else Source.ASKED_BEFORE
            return self._finish(answer.reusing(known.origin, known.texts, source), started, folder)
        wanted = Wanted(
            request,
            folder.context_version(request.path),
            num_candidates=options.candidates if explicit else 1,
            block_lines=options.block_lines,
            budget_seconds=0.0 if explicit else options.latency_budget_ms / 1000,
        )
        answer = await self._ask(folder, answer, wanted, 0.0 if explicit else self._wait_seconds(options))
        if answer.suggestions is not None:
            self._reuse.put(context, request, answer.texts, answer.origin)
            if answer.origin.is_shortened:  # asked again at this place, the model answers with all chunks
                self._start_reading_ahead(folder, wanted)
        return self._finish(answer, started, folder)

    def key_pressed(self, document: Document) -> None:
        """The user types."""
        self._pace.key(time.monotonic())
        self.warm_up(document)

    def rested(self, document: Document, offset: int) -> None:
        """The cursor stays at a place: read what the next request there needs, while nobody waits."""
        folder = self._files.folder_of(document.path)
        if self._num_measuring or self._why_off(document) or folder.why_not(document):
            return
        request = folder.make_request(document, offset)
        wanted = Wanted(request, folder.context_version(request.path))
        self._start_reading_ahead(folder, wanted)

    async def impacts(self, answer: Answer) -> dict[str, float]:
        """What each chunk did for an answer, by chunk id; empty where a newer request stopped it."""
        measured: dict[str, float] = {}
        if answer.suggestions is not None:
            folder, completion = self._files.folder_of(path_of(answer.uri)), answer.suggestions.completion
            text = answer.texts[0] if answer.texts else completion.text

            def measure(cancellation: Cancellation) -> None:
                suggester = folder.suggester(self._models)
                decisions = worth_showing(completion.decisions)
                measured.update(suggester.impacts(answer.request, text, decisions, cancellation))

            self._num_measuring += 1  # nobody unloads the model in the middle
            try:
                await self._requests.run_when_idle(measure)
            finally:
                self._num_measuring -= 1
                self._set_idle_timer()
        return measured

    def abandon(self) -> None:
        """Let the thread end soon."""
        _stop(self._idle_timer)
        _stop(self._snooze_timer)
        self._model_thread.shutdown(wait=False, cancel_futures=True)
        self.feedback.end()

    async def _ask(self, folder: Folder, answer: Answer, wanted: Wanted, delay_seconds: float) -> Answer:
        """Let the model answer."""
        self._set_idle_timer()
        self._is_warm = True
        answer = replace(answer, is_indexed=not folder.is_opening)
        self._is_completing = True
        self.show_status()
        try:
            suggestions = await self._requests.run(
                answer.kind, partial(self._suggest, folder, wanted), delay_seconds
            )
        except CancelledError as error:  # the model was stopped, as at the end of the server
            raise asyncio.CancelledError from error
        except asyncio.CancelledError:
            if not self._background.stopping.cancelled:
                self._show_end()
            raise
        except Exception as error:
            return replace(answer, source=Source.NOBODY, reason=self._background.report(error, answer.place))
        return replace(answer, suggestions=suggestions, texts=suggestions.texts, reason=suggestions.reason)

    def _suggest(self, folder: Folder, wanted: Wanted, cancellation: Cancellation) -> Suggestions:
        """In the model's thread."""
        suggester = folder.suggester(self._models)  # which may load the model
        cancellation.raise_if_cancelled()
        return suggester.suggest(wanted, cancellation)

    def _finish(self, answer: Answer, started: float, folder: Folder) -> Answer:
        """Note an answer, and say what came of it."""
        answer = replace(answer, seconds=time.perf_counter() - started)
        self.answers.add(answer)
        if answer.texts:
            self.feedback.offered(answer, folder)
        self._editor.log(f"{answer.place}: {answer.summary}, {answer.seconds:.2f} s")
        if self._why_off(None) is None:  # else it would be the status once they are on again
            kind = Kind.WARNING if answer.source is Source.NOBODY else Kind.NORMAL
            self._status = Status(answer.summary, kind)
        self._show_end()
        return answer

    def _show(self, status: Status) -> None:
        self._status = status
        self.show_status()

    def _show_end(self) -> None:
        """A request has ended; others may still be waited for."""
        self._is_completing = not self._requests.is_idle
        self.show_status()

    def _why_off(self, document: Document | None) -> str | None:
        """Why completions are off: everywhere, or in the language of a document; None where they are on."""
        options = self._files.options if document is None else self._files.folder_of(document.path).options
        if (left := self._snoozed_until - time.monotonic()) > 0:
            return f"snoozed for {max(1, round(left / 60))} more minutes"
        if not options.enabled:
            return "switched off in the editor's options"
        if document is not None and not options.is_on_for(document.language_id):
            return f"switched off for {document.language_id} in the editor's options"
        return None

    def _wait_seconds(self, options: EditorOptions) -> float:
        debounce_ms = options.debounce_ms
        return self._pace.wait_seconds(time.monotonic()) if debounce_ms is None else debounce_ms / 1000

    async def _load_model(self, settings: Settings) -> None:
        loading = Status(f"loading {settings.model}", busy=True)
        self._show(loading)
        try:
            async with self._editor.show_progress(f"Loading {settings.model}"):
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._model_thread, self._models.get, settings)
        except Exception as error:
            self._show(Status(self._background.report(error, f"loading {settings.model}"), Kind.ERROR))
        else:
            if self._status == loading:
                self._show(Status("ready"))
            self._set_idle_timer()

    def _start_reading_ahead(self, folder: Folder, wanted: Wanted) -> None:
        """Not by a server, which may be shared or paid for."""
        if folder.options.read_ahead and not is_remote(folder.settings.model):
            claimed = folder, wanted, self._requests.claim_idle()
            self._background.start("reading ahead", self._read_ahead, claimed)

    async def _read_ahead(self, claimed: tuple[Folder, Wanted, Cancellation]) -> None:
        folder, wanted, claim = claimed
        seconds: list[float] = []

        def read_ahead(cancellation: Cancellation) -> None:
            started = time.perf_counter()
            is_ready = self._models.has(folder.settings) and not folder.is_opening
            if is_ready and folder.suggester(self._models).read_ahead(wanted, cancellation):
                seconds.append(time.perf_counter() - started)

        await self._requests.run_when_idle(read_ahead, claim)
        for value in seconds:
            self._editor.log(f"{wanted.request.path}: read ahead, {value:.2f} s")

    def _set_idle_timer(self) -> None:
        _stop(self._idle_timer)
        if minutes := self._files.options.idle_unload_minutes:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(
                60 * minutes, self._background.start, "unloading the model", self._unload, None
            )

    def _make_room(self) -> None:
        """In the model's thread: let go of models that no folder's settings ask for any more."""
        self._keep_models([folder.settings for folder in self._files])

    def _keep_models(self, wanted: Iterable[Settings]) -> None:
        """In the model's thread."""
        for folder in self._files:
            folder.forget_model()
        self._models.keep(wanted)

    async def _unload(self, _: None) -> None:
        if self._num_measuring or not await self._requests.run_when_idle(lambda _: self._keep_models(())):
            return
        self._is_warm = False
        self._editor.log("the model was unloaded, because nobody asked for a while; the next key loads it")
        self._show(Status("model unloaded while idle"))


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

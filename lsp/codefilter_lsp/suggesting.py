"""One completion from beginning to end: retrieve and filter, fit the budget, generate, clean.

In: a request, and what the editor's user chose. Out: `Suggestions`: texts to show, best first, and everything
that explains them. For the model's thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codefilter.attribution import attribute
from codefilter.budget import ReadingCost, choose, still_good
from codefilter.completion import Completer, PreparedPrompt
from codefilter.errors import CancelledError
from codefilter.lm.base import Cancellation, LanguageModel
from codefilter.postprocess import Cleaned, Extent, Place, clean, extent_of, parsing_first
from codefilter.types import Completion, CompletionRequest, FilterDecision, FinishReason

_TEMPERATURE = 0.8  # of the candidates after the first


@dataclass(frozen=True)
class Wanted:
    """What is asked for at a place."""

    request: CompletionRequest
    context_version: int  # changes when the text of another file does
    num_candidates: int = 1
    block_lines: int = 1
    budget_seconds: float = 0.0  # to read the prompt; 0: as long as it takes


@dataclass(frozen=True)
class Suggestions:
    """What came of it."""

    texts: tuple[str, ...]  # best first; empty: nothing to show
    completion: Completion  # the first candidate as the model wrote it; its prompt without texts and tokens
    cleaned: Cleaned
    prompt_tokens: int
    is_shortened: bool = False  # chunks were left out to answer in time

    @property
    def reason(self) -> str:
        """Why there is no text; empty where there is."""
        return "" if self.texts else self.cleaned.reason

    @property
    def late_chunk_ids(self) -> tuple[str, ...]:
        """Chunks that the filter kept, left out to answer in time."""
        prompt = self.completion.prompt
        shown = {*prompt.chunk_ids, *prompt.dropped_chunk_ids}
        kept = (d.candidate.chunk.chunk_id for d in self.completion.decisions if d.keep)
        return tuple(chunk_id for chunk_id in kept if chunk_id not in shown)


@dataclass(frozen=True)
class _Chunks:
    """The chunks of the last prompt, and for which place they were chosen."""

    path: str
    start_line: int
    context_version: int
    decisions: tuple[FilterDecision, ...]


class Suggester:
    """Completes places of one folder with one model."""

    def __init__(self, completer: Completer, model: LanguageModel, cost: ReadingCost) -> None:
        self._completer = completer
        self._model = model
        self._cost = cost
        self._last: _Chunks | None = None

    def suggest(self, wanted: Wanted, cancellation: Cancellation) -> Suggestions:
        """Complete one place; `CancelledError` soon after a cancellation."""
        place = Place.of(wanted.request)
        request = _sized(wanted, extent_of(place))
        prepared, is_shortened = self._plan(request, wanted, cancellation)
        completions = self._generate(request, prepared, wanted.num_candidates, cancellation)
        cleaned = [clean(place, c.text, cut_off=c.finish_reason is FinishReason.LENGTH) for c in completions]
        texts = [one.text for one in cleaned if one.text]
        if len(texts) > 1:
            texts = parsing_first(place, texts)
        first = completions[0]
        bare = replace(first, prompt=replace(first.prompt, segments=(), token_ids=()))  # many are remembered
        return Suggestions(tuple(texts), bare, cleaned[0], first.prompt.num_tokens, is_shortened)

    def read_ahead(self, wanted: Wanted, cancellation: Cancellation) -> None:
        """Let the model read the prompt with all its chunks, for the next request at this place."""
        prepared = self._completer.prepare(wanted.request, cancellation)
        self._generate(replace(wanted.request, max_new_tokens=1), prepared, 1, cancellation)
        self._remember(wanted, prepared)

    def impacts(
        self,
        request: CompletionRequest,
        text: str,
        decisions: Sequence[FilterDecision],
        cancellation: Cancellation,
    ) -> dict[str, float]:
        """How each candidate changes the likelihood of a text, by chunk id; see `codefilter.attribution`."""
        try:
            found = attribute(self._completer, self._model, request, text, decisions, cancellation)
            return {effect.decision.candidate.chunk.chunk_id: effect.impact_nats for effect in found.effects}
        finally:
            self._cost.was_used_otherwise()

    def _plan(
        self, request: CompletionRequest, wanted: Wanted, cancellation: Cancellation
    ) -> tuple[PreparedPrompt, bool]:
        """The prompt to read now, and whether it lacks chunks that it should have."""
        full = self._completer.prepare(request, cancellation)
        last = self._last_decisions(wanted, full)
        good = [full]
        if last is not None:
            again = self._with(request, full, last, last)
            is_good = still_good(again.prompt.chunk_ids, full.decisions)
            good = [again, full] if is_good else [full, again]
        options = [*good]
        if not any(self._fits(option, wanted) for option in good):
            kept = sorted((d for d in full.decisions if d.keep), key=lambda d: d.candidate.rank)
            options += [
                self._with(request, full, full.decisions, kept[:number])
                for number in dict.fromkeys((len(kept) // 2, 0))
            ]
        number = choose([option.prompt for option in options], self._cost, wanted.budget_seconds)
        if number < len(good):
            self._remember(wanted, options[number])
        return options[number], number >= len(good)

    def _fits(self, prepared: PreparedPrompt, wanted: Wanted) -> bool:
        return not wanted.budget_seconds or self._cost.seconds(prepared.prompt) <= wanted.budget_seconds

    def _with(
        self,
        request: CompletionRequest,
        full: PreparedPrompt,
        decisions: Sequence[FilterDecision],
        used: Sequence[FilterDecision],
    ) -> PreparedPrompt:
        """The same place with other chunks: those of the decisions that are used."""
        prompt = self._completer.build_prompt(request, full.in_file, list(used))
        return replace(full, decisions=tuple(decisions), prompt=prompt)

    def _last_decisions(self, wanted: Wanted, full: PreparedPrompt) -> tuple[FilterDecision, ...] | None:
        """Decisions of the last prompt, where they can serve this place too."""
        last = self._last
        place = (wanted.request.path, full.in_file.start_line, wanted.context_version)
        if last is None or (last.path, last.start_line, last.context_version) != place:
            return None
        return last.decisions

    def _remember(self, wanted: Wanted, prepared: PreparedPrompt) -> None:
        self._last = _Chunks(
            wanted.request.path, prepared.in_file.start_line, wanted.context_version, prepared.decisions
        )

    def _generate(
        self,
        request: CompletionRequest,
        prepared: PreparedPrompt,
        num_candidates: int,
        cancellation: Cancellation,
    ) -> list[Completion]:
        try:
            completions = self._completer.generate(request, prepared, cancellation)
            first = completions[0]
            self._cost.was_read(prepared.prompt, first.stage_seconds["read"], first.num_reused_tokens)
            if num_candidates > 1:
                completions += self._completer.generate(
                    request,
                    prepared,
                    cancellation,
                    num_candidates=num_candidates - 1,
                    temperature=_TEMPERATURE,
                )
        except CancelledError:
            self._cost.was_stopped(prepared.prompt)
            raise
        return completions


def _sized(wanted: Wanted, extent: Extent) -> CompletionRequest:
    """The request with as many lines as fit at the place."""
    request = wanted.request
    if extent is Extent.WITHIN_LINE:
        return replace(request, max_lines=1)
    if extent is Extent.BLOCK and wanted.block_lines > 1 and request.max_lines is not None:
        lines = max(request.max_lines, wanted.block_lines)
        return replace(request, max_lines=lines, max_new_tokens=2 * request.max_new_tokens)
    return request

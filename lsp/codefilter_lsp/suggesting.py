"""One completion from beginning to end: retrieve and filter, fit the budget, generate, clean.

In: a request, and what the editor's user chose. Out: `Suggestions`: texts to show, best first, and everything
that explains them. For the model's thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codefilter.attribution import attribute
from codefilter.budget import Plan, Planner, ReadingCost
from codefilter.completion import Completer, PreparedPrompt
from codefilter.lm.base import Cancellation, LanguageModel
from codefilter.postprocess import (
    Cleaned,
    Extent,
    Place,
    clean,
    extent_of,
    parsing_first,
    without_closed,
)
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

    @property
    def place(self) -> tuple[object, ...]:
        """What tells whether a prompt is to be made anew."""
        request = self.request
        return request.path, request.prefix, request.suffix, self.context_version


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


class Suggester:
    """Completes places of one folder with one model."""

    def __init__(self, completer: Completer, model: LanguageModel, cost: ReadingCost) -> None:
        self._completer = completer
        self._model = model
        self._cost = cost
        self._planner = Planner(completer, cost)
        self._read_place: tuple[object, ...] | None = None  # the last one, with all its chunks

    def suggest(self, wanted: Wanted, cancellation: Cancellation) -> Suggestions:
        """Complete one place; `CancelledError` soon after a cancellation."""
        place = Place.of(wanted.request)
        request = _sized(wanted, extent_of(place))
        plan = self._plan(request, wanted, cancellation)
        completions = self._generate(request, plan.prepared, wanted.num_candidates, cancellation)
        self._read_place = None if plan.is_shortened else wanted.place
        cleaned = [clean(place, c.text, cut_off=c.finish_reason is FinishReason.LENGTH) for c in completions]
        texts = [one.text for one in cleaned if one.text]
        if len(texts) > 1:
            texts = parsing_first(place, texts)
        first = completions[0]
        bare = replace(first, prompt=replace(first.prompt, segments=(), token_ids=()))  # many are remembered
        return Suggestions(tuple(texts), bare, cleaned[0], first.prompt.num_tokens, plan.is_shortened)

    def read_ahead(self, wanted: Wanted, cancellation: Cancellation) -> bool:
        """Let the model read the prompt with all its chunks, for the next request at this place.

        Returns:
            Whether it was not the place that was read last.
        """
        if wanted.place == self._read_place:
            return False
        request = replace(without_closed(wanted.request), max_new_tokens=1)
        plan = self._plan(request, replace(wanted, budget_seconds=0.0), cancellation)
        self._generate(request, plan.prepared, 1, cancellation)
        self._read_place = wanted.place
        return True

    def _plan(self, request: CompletionRequest, wanted: Wanted, cancellation: Cancellation) -> Plan:
        return self._planner.plan(
            request, wanted.budget_seconds, cancellation, context_version=wanted.context_version
        )

    def impacts(
        self,
        request: CompletionRequest,
        text: str,
        decisions: Sequence[FilterDecision],
        cancellation: Cancellation,
    ) -> dict[str, float]:
        """How each candidate changes the likelihood of a text, by chunk id; see `codefilter.attribution`."""
        found = attribute(self._completer, self._model, request, text, decisions, cancellation)
        return {effect.decision.candidate.chunk.chunk_id: effect.impact_nats for effect in found.effects}

    def _generate(
        self,
        request: CompletionRequest,
        prepared: PreparedPrompt,
        num_candidates: int,
        cancellation: Cancellation,
    ) -> list[Completion]:
        completions = self._completer.generate(request, prepared, cancellation)
        first = completions[0]
        self._cost.was_read(first.prompt.num_tokens - first.num_reused_tokens, first.stage_seconds["read"])
        if num_candidates > 1:
            completions += self._completer.generate(
                request,
                prepared,
                cancellation,
                num_candidates=num_candidates - 1,
                temperature=_TEMPERATURE,
            )
        return completions


def _sized(wanted: Wanted, extent: Extent) -> CompletionRequest:
    """The request as the model is to see it, with as many lines as fit at the place."""
    request = without_closed(wanted.request)
    if extent is Extent.WITHIN_LINE:
        return replace(request, max_lines=1)
    if extent is Extent.BLOCK and wanted.block_lines > 1 and request.max_lines is not None:
        lines = max(request.max_lines, wanted.block_lines)
        return replace(request, max_lines=lines, max_new_tokens=2 * request.max_new_tokens)
    return request

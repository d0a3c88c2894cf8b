"""A latency budget that drops chunks, never text.

In: a place to complete, seconds to read its prompt. Out: the prompt to read now. What reading costs is known
from the last requests; what the model has read already costs nothing. The editor's server uses it, and
`speed typing`.

Notable: the order of the chunks alone does not keep a prompt's beginning from changing; another set of chunks
does it too, with every key. So the chunks of the last prompt stay as long as the best candidates are among
them, and a set that is too dear now is read in the next pause.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codefilter.completion import Completer, PreparedPrompt
from codefilter.lm.base import Cancellation, LanguageModel
from codefilter.prompts.selection import most_useful_first
from codefilter.types import CompletionRequest, FilterDecision, Prompt

_WEIGHT = 0.3  # of the newest measurement
_FEWEST_TOKENS = 32  # fewer say little about the speed
STICKY_CHUNKS = 3  # the most useful, for which another set is read


class ReadingCost:
    """How long a model takes to read a prompt. For the model's thread only."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._seconds_per_token: float | None = None

    def seconds(self, prompt: Prompt) -> float:
        """How long a prompt takes, as the model is now; 0 while nothing is known."""
        new_tokens = len(prompt.token_ids) - self._model.reusable_tokens(prompt.token_ids)
        return new_tokens * (self._seconds_per_token or 0.0)

    def was_read(self, new_tokens: int, seconds: float) -> None:
        """The model has read so many tokens that it did not hold."""
        if new_tokens >= _FEWEST_TOKENS:
            now, usual = seconds / new_tokens, self._seconds_per_token
            self._seconds_per_token = now if usual is None else usual + _WEIGHT * (now - usual)


@dataclass(frozen=True)
class Plan:
    """The prompt to read now."""

    prepared: PreparedPrompt
    is_shortened: bool  # it lacks chunks that it should have


@dataclass(frozen=True)
class _Chunks:
    """The chunks of the last prompt, and for which place they were chosen."""

    path: str
    start_line: int
    context_version: int
    decisions: tuple[FilterDecision, ...]


class Planner:
    """Plans one request after the other with one completer. For the model's thread only."""

    def __init__(self, completer: Completer, cost: ReadingCost) -> None:
        self._completer = completer
        self._cost = cost
        self._last: _Chunks | None = None

    def plan(
        self,
        request: CompletionRequest,
        budget_seconds: float,
        cancellation: Cancellation | None = None,
        *,
        context_version: int = 0,
    ) -> Plan:
        """The last chunks, or those of now, or fewer, to read in time.

        Args:
            request: the place to complete.
            budget_seconds: to read the prompt; 0: as long as it takes.
            cancellation: see `Completer.prepare`.
            context_version: another one where the text of another file has changed.
        """
        full = self._completer.prepare(request, cancellation)
        started = time.perf_counter()
        last = self._last
        good = [full]
        place = (request.path, full.in_file.start_line, context_version)
        if last is not None and (last.path, last.start_line, last.context_version) == place:
            again = self._with(request, full, last.decisions, last.decisions)
            is_good = still_good(again.prompt.chunk_ids, full.decisions)
            good = [again, full] if is_good else [full, again]
        options = [*good]
        if budget_seconds and all(self._cost.seconds(option.prompt) > budget_seconds for option in good):
            kept = most_useful_first(full.decisions)
            options += [
                self._with(request, full, full.decisions, kept[:number])
                for number in dict.fromkeys((len(kept) // 2, 0))
            ]
        number = choose([option.prompt for option in options], self._cost, budget_seconds)
        if number < len(good):
            self._last = _Chunks(*place, options[number].decisions)
        stage_seconds = {**full.stage_seconds}
        stage_seconds["prompt"] += time.perf_counter() - started
        return Plan(replace(options[number], stage_seconds=stage_seconds), number >= len(good))

    def _with(
        self,
        request: CompletionRequest,
        full: PreparedPrompt,
        decisions: tuple[FilterDecision, ...],
        used: Sequence[FilterDecision],
    ) -> PreparedPrompt:
        """The same place with other chunks: those of the decisions that are used."""
        prompt = self._completer.build_prompt(request, full.in_file, used)
        return replace(full, decisions=decisions, prompt=prompt)


def still_good(chunk_ids: Sequence[str], decisions: Sequence[FilterDecision]) -> bool:
    """Whether the chunks of the last prompt may stay: the most useful of the kept ones are among them."""
    best = most_useful_first(decisions)[:STICKY_CHUNKS]
    return bool(best) and {decision.candidate.chunk.chunk_id for decision in best} <= set(chunk_ids)


def choose(prompts: Sequence[Prompt], cost: ReadingCost, budget_seconds: float) -> int:
    """Number of the first prompt that can be read in time, else of the cheapest; no budget (0): the first."""
    if not budget_seconds:
        return 0
    seconds = [cost.seconds(prompt) for prompt in prompts]
    in_time = (number for number, value in enumerate(seconds) if value <= budget_seconds)
    return next(in_time, seconds.index(min(seconds)))

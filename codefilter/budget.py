"""A latency budget that drops chunks, never text.

In: prompts that could be read, best first. Out: the one to read now. What reading costs is known from the
last requests; what the model has read already costs nothing. The editor's server uses it, and `speed typing`.

Notable: the order of the chunks alone does not keep a prompt's beginning from changing; another set of chunks
does it too, with every key. So the chunks of the last prompt stay as long as the best candidates are among
them, and a set that is too dear now is read in the next pause.
"""

from __future__ import annotations

from collections.abc import Sequence

from codefilter.lm.decoding import common_prefix_length
from codefilter.types import FilterDecision, Prompt

_WEIGHT = 0.3  # of the newest measurement
_FEWEST_TOKENS = 32  # fewer say little about the speed
STICKY_RANKS = 3


class ReadingCost:
    """What the model has read, and how long a new token takes. For the model's thread only."""

    def __init__(self) -> None:
        self._read: Sequence[int] = ()
        self._seconds_per_token: float | None = None

    def new_tokens(self, prompt: Prompt) -> int:
        """How many tokens of a prompt the model would have to read."""
        return len(prompt.token_ids) - common_prefix_length(self._read, prompt.token_ids)

    def seconds(self, prompt: Prompt) -> float:
        """How long that would take; 0 while nothing is known."""
        return self.new_tokens(prompt) * (self._seconds_per_token or 0.0)

    def was_read(self, prompt: Prompt, seconds: float, reused_tokens: int) -> None:
        """The model has read a prompt, of which it still held so many tokens."""
        tokens = len(prompt.token_ids) - reused_tokens
        if tokens >= _FEWEST_TOKENS:
            now, usual = seconds / tokens, self._seconds_per_token
            self._seconds_per_token = now if usual is None else usual + _WEIGHT * (now - usual)
        self._read = prompt.token_ids

    def was_stopped(self, prompt: Prompt) -> None:
        """The model was stopped somewhere in a prompt; what it held of the last one before may be gone."""
        self._read = self._read[: common_prefix_length(self._read, prompt.token_ids)]

    def was_used_otherwise(self) -> None:
        """The model has read something else."""
        self._read = ()


def still_good(chunk_ids: Sequence[str], decisions: Sequence[FilterDecision]) -> bool:
    """Whether the chunks of the last prompt may stay: the best of the kept candidates are among them."""
    kept = sorted((d.candidate for d in decisions if d.keep), key=lambda candidate: candidate.rank)
    return bool(kept) and {c.chunk.chunk_id for c in kept[:STICKY_RANKS]} <= set(chunk_ids)


def choose(prompts: Sequence[Prompt], cost: ReadingCost, budget_seconds: float) -> int:
    """Number of the first prompt that can be read in time, else of the cheapest; no budget (0): the first."""
    if not budget_seconds:
        return 0
    seconds = [cost.seconds(prompt) for prompt in prompts]
    in_time = (number for number, value in enumerate(seconds) if value <= budget_seconds)
    return next(in_time, seconds.index(min(seconds)))

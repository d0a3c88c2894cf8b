"""When and how often retrieval runs before the final prompt is written.

In: a request, a `Completer`, the means to write after a prompt. Out: a `PreparedPrompt`. Three strategies:
once; RepoCoder's iteration (arXiv 2303.12570, section 3), whose later rounds look for what the round before
wrote; and retrieval only where the model is unsure by itself, which is Repoformer's idea (arXiv 2403.10059),
without its training: the model completes alone, and where the mean log-likelihood of its own tokens reaches a
threshold, that stands.

Notable: what is written on the way goes through `Write`, so that an evaluation computes a prompt that several
arms share only once, and counts its seconds for each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from codefilter.completion import Completer, PreparedPrompt
from codefilter.errors import UsageError
from codefilter.types import Completion, CompletionRequest

Write = Callable[[CompletionRequest, PreparedPrompt], Completion]
"""Writes after a prompt, or remembers what was written."""

EARLIER = "earlier rounds"  # stage that holds the seconds of everything before the last round
DRAFT = "draft"  # stage that holds the seconds of writing a draft that stands, before any of it is shown


class Strategy(Protocol):
    """One way from a request to its final prompt."""

    @property
    def name(self) -> str:
        """As an arm spells it: ``once``, ``iterative:2``, ``selective:-0.5``."""

    def prepare(self, completer: Completer, request: CompletionRequest, write: Write) -> PreparedPrompt:
        """The prompt to complete from."""


@dataclass(frozen=True)
class Once:
    """Retrieve, filter, prompt."""

    name: str = "once"

    def prepare(self, completer: Completer, request: CompletionRequest, write: Write) -> PreparedPrompt:
        """See `Completer.prepare`."""
        return completer.prepare(request)


@dataclass(frozen=True)
class Iterative:
    """Every round after the first looks for the code that the round before wrote."""

    rounds: int

    @property
    def name(self) -> str:
        """With the number of rounds."""
        return f"iterative:{self.rounds}"

    def prepare(self, completer: Completer, request: CompletionRequest, write: Write) -> PreparedPrompt:
        """The prompt of the last round."""
        prepared = completer.prepare(request)
        earlier = 0.0
        for _ in range(self.rounds - 1):
            draft = write(request, prepared)
            earlier += sum(draft.stage_seconds.values())
            written = replace(request, prefix=request.prefix + draft.text)
            prepared = completer.prepare(request, look_for=written)
        return replace(prepared, stage_seconds={EARLIER: earlier, **prepared.stage_seconds})


@dataclass(frozen=True)
class Selective:
    """Retrieve only where the model is less sure of its own completion than `min_mean_nats` per token."""

    min_mean_nats: float

    @property
    def name(self) -> str:
        """With the threshold."""
        return f"selective:{self.min_mean_nats:g}"

    def prepare(self, completer: Completer, request: CompletionRequest, write: Write) -> PreparedPrompt:
        """The prompt without chunks, already read and written to its end, or the usual one."""
        alone = completer.prepare_alone(request)
        draft = write(request, alone)
        if draft.log_likelihood.num_tokens and draft.log_likelihood.mean_nats >= self.min_mean_nats:
            seconds = draft.stage_seconds
            read = {**alone.stage_seconds, "read": seconds["read"], DRAFT: seconds["write"]}
            return replace(alone, stage_seconds=read)
        prepared = completer.prepare(request)
        earlier = sum(draft.stage_seconds.values())
        return replace(prepared, stage_seconds={EARLIER: earlier, **prepared.stage_seconds})


def get_strategy(text: str) -> Strategy:
    """``once``, ``iterative[:ROUNDS]``, ``selective:NATS``; `UsageError` for anything else."""
    kind, _, argument = text.partition(":")
    try:
        if kind == "once" and not argument:
            return Once()
        if kind == "iterative" and int(argument or 2) >= 2:
            return Iterative(int(argument or 2))
        if kind == "selective" and float(argument) <= 0:
            return Selective(float(argument))
    except ValueError:
        pass
    raise UsageError(
        f"no strategy {text!r}",
        hint="once, iterative:ROUNDS (from 2 on), selective:NATS (mean nats per token, at most 0).",
    )

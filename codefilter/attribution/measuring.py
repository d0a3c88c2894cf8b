"""What each chunk does to the likelihood of a text: the model reads the text with the chunk and without.

In: a request, a text at its place (the model's own, or one that is given), a filter's decisions. Out: an
`Attribution`, in nats per token of the text (CODEFILTER, arXiv 2508.05970, section 3, with this text in the
place of the truth).
Notable: a prompt is read for every chunk, dropped ones too, so this is done only when somebody asks. It is
read as labels are, in the layout that measures best (`measuring_layout`), which need not be the one that the
text was written in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codefilter.completion import Completer
from codefilter.likelihood import PromptReader, target_continuation
from codefilter.lm.base import Cancellation, LanguageModel
from codefilter.types import (
    CompletionRequest,
    FilterDecision,
    LogLikelihood,
    Prompt,
    RetrievedChunk,
)


@dataclass(frozen=True)
class ChunkEffect:
    """One candidate: what was decided about it, and what it alone does."""

    decision: FilterDecision
    is_in_prompt: bool
    reason: str  # why it is, or is not
    gains: tuple[float, ...] | None  # nats of each token above `alone`; None: over the budget even alone

    @property
    def impact_nats(self) -> float:
        """Mean gain per token; 0 where it cannot be read."""
        return _mean(self.gains or ())


@dataclass(frozen=True)
class Attribution:
    """A text and what changes its likelihood."""

    tokens: tuple[
        str, ...
    ]  # of the text (`Tokenizer.pieces`); the first may begin with what was typed already
    alone: LogLikelihood  # without chunks
    together_gains: tuple[float, ...]  # above `alone`: with all chunks of the prompt
    effects: tuple[ChunkEffect, ...]  # in the order of the decisions

    @property
    def together_nats(self) -> float:
        """Mean gain per token of all chunks of the prompt together."""
        return _mean(self.together_gains)


def attribute(
    completer: Completer,
    model: LanguageModel,
    request: CompletionRequest,
    text: str,
    decisions: Sequence[FilterDecision],
    cancellation: Cancellation | None = None,
    on_read: Callable[[], object] = lambda: None,
) -> Attribution:
    """Measure what the chunks do to a text; `on_read` is called after each of `num_readings` prompts.

    Raises:
        ModelError: the model cannot say how likely a given text is (some servers).
    """
    in_file = completer.cut_in_file(request)

    def prompt_with(chunks: Sequence[RetrievedChunk]) -> Prompt:
        return completer.measuring_prompt(request, in_file, chunks)

    reader = PromptReader(model, prompt_with, cancellation)

    def read(prompt: Prompt) -> LogLikelihood:
        likelihood = reader.read(prompt, target_continuation(prompt, text, model.tokenizer))
        on_read()
        return likelihood

    shown = completer.build_prompt(request, in_file, decisions)
    used = [d.candidate for d in decisions if d.candidate.chunk.chunk_id in shown.chunk_ids]
    together = read(prompt_with(used))
    empty = prompt_with([])
    alone = read(empty)

    def effect(decision: FilterDecision) -> ChunkEffect:
        chunk_id = decision.candidate.chunk.chunk_id
        prompt = prompt_with([decision.candidate])
        gains = _gains(read(prompt), alone) if chunk_id in prompt.chunk_ids else None
        return ChunkEffect(decision, chunk_id in shown.chunk_ids, shown.reason(decision), gains)

    continuation = target_continuation(empty, text, model.tokenizer)
    pieces = model.tokenizer.pieces(continuation.token_ids)
    return Attribution(
        tokens=tuple(pieces[len(pieces) - continuation.num_targets :]),
        alone=alone,
        together_gains=_gains(together, alone),
        effects=tuple(map(effect, decisions)),
    )


def num_readings(decisions: Sequence[FilterDecision]) -> int:
    """How many prompts `attribute` reads, at most."""
    return 2 + len(decisions)


def _gains(likelihood: LogLikelihood, alone: LogLikelihood) -> tuple[float, ...]:
    return tuple(value - base for value, base in zip(likelihood.per_token, alone.per_token, strict=True))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0

"""The perplexity filter: chunks that make the model surer of what it would write anyway. No training.

In: the request, its candidates, a reader. Out: decisions. The model writes a short draft without chunks; a
chunk's gain is by how much the entropy of the model's predictions along the draft falls, in nats per token,
when it reads the chunk. LongCodeZip (arXiv 2510.00446) ranks functions by the perplexity of the instruction;
a completion has no instruction, so that the draft stands in for it.

Notable: the gain is certainty, not agreement. A chunk that makes the model sure of something else than its
draft counts as well, which the likelihood of the draft would punish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codefilter.errors import FilterError, UsageError
from codefilter.filters.arguments import parse_number
from codefilter.filters.base import USUAL_CANDIDATES, FilterContext, Need
from codefilter.filters.drafts import DRAFT_TOKENS, read_draft
from codefilter.types import CompletionRequest, FilterDecision, Polarity, RetrievedChunk

DEFAULT_GAIN_NATS = 0.05


@dataclass(frozen=True)
class KeepSharpening:
    """Chunks whose gain is at least a threshold."""

    min_gain_nats: float
    needs: frozenset[Need] = frozenset({Need.READER})
    usual_candidates: int = USUAL_CANDIDATES
    max_candidates: int | None = None

    @property
    def name(self) -> str:
        """As `--filter` takes it."""
        return f"perplexity:{self.min_gain_nats:g}"

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Keep gains at or above the threshold; over the budget the largest gains stay.

        Raises:
            FilterError: there is no reader, or its engine does not measure entropies.
        """
        reader = context.reader
        if reader is None:
            raise FilterError(f"{self.name} needs a model that reads", hint="Choose another --filter.")
        if not candidates:
            return []
        draft = reader.write_draft(DRAFT_TOKENS)
        if not draft:
            return [_decision(candidate, False, 0.0, "the draft is empty") for candidate in candidates]
        alone = np.mean(read_draft(reader, draft, []).entropies)
        gains = [
            float(alone - np.mean(read_draft(reader, draft, [candidate]).entropies))
            for candidate in candidates
        ]
        return [
            _decision(
                candidate,
                gain >= self.min_gain_nats,
                gain,
                f"{gain:+.2f} nats of certainty, threshold {self.min_gain_nats:g}",
            )
            for candidate, gain in zip(candidates, gains, strict=True)
        ]


def _decision(candidate: RetrievedChunk, keep: bool, gain_nats: float, reason: str) -> FilterDecision:
    """The confidence is 1 - exp(-gain): no probability, but in the order of the gains."""
    if not keep:
        return FilterDecision(candidate, False, Polarity.UNKNOWN, 1.0, reason)
    return FilterDecision(candidate, True, Polarity.POSITIVE, 1.0 - float(np.exp(-gain_nats)), reason)


def parse_gain(argument: str) -> KeepSharpening:
    """``perplexity:0.1`` → the filter; 0.05 nats per token is the default."""
    gain = parse_number(argument or str(DEFAULT_GAIN_NATS), low=0)
    if gain is None:
        raise UsageError(
            f"perplexity takes a gain in nats per token from 0 on, not {argument!r}",
            hint="For example: --filter perplexity:0.1",
        )
    return KeepSharpening(gain)

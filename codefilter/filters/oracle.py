"""The oracle: chunks that make the true completion more likely. An upper bound, for evaluation only.

In: the request, its candidates, the truth. Out: decisions. The impact is CODEFILTER's (arXiv 2508.05970,
section 3), in mean nats per target token, each chunk by itself; so even the oracle misses what only several
chunks do together (RepoShapley, arXiv 2601.03378). It is the raw impact: labels take off the mean impact of
unrelated chunks, which here nobody measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from codefilter.errors import FilterError, UsageError
from codefilter.filters.arguments import parse_number
from codefilter.filters.base import USUAL_CANDIDATES, FilterContext, Need
from codefilter.types import CompletionRequest, FilterDecision, Polarity, RetrievedChunk

DEFAULT_IMPACT_NATS = 0.2


@dataclass(frozen=True)
class KeepPositive:
    """Chunks whose impact is above a threshold, in nats per target token."""

    min_impact_nats: float
    needs: frozenset[Need] = frozenset({Need.TRUTH})
    usual_candidates: int = USUAL_CANDIDATES
    max_candidates: int | None = None

    @property
    def name(self) -> str:
        """As `--filter` takes it."""
        return f"oracle:{self.min_impact_nats:g}"

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Keep impacts above the threshold; over the budget the largest stay.

        Raises:
            FilterError: the truth is not known.
        """
        truth = context.truth
        if truth is None:
            raise FilterError(f"{self.name} needs the true completion", hint="Only `evaluate` knows it.")
        alone = truth.read_target([]).mean_nats
        return [self._decision(one, truth.read_target([one]).mean_nats - alone) for one in candidates]

    def _decision(self, candidate: RetrievedChunk, impact_nats: float) -> FilterDecision:
        reason = f"impact {impact_nats:+.2f} nats per token, threshold {self.min_impact_nats:g}"
        if impact_nats > self.min_impact_nats:
            # the confidence is no probability, but in the order of the impacts
            confidence = 1.0 - math.exp(-impact_nats)
            return FilterDecision(candidate, True, Polarity.POSITIVE, confidence, reason, impact_nats)
        polarity = Polarity.NEGATIVE if impact_nats < -self.min_impact_nats else Polarity.NEUTRAL
        return FilterDecision(candidate, False, polarity, 1.0, reason, impact_nats)


def parse_impact(argument: str) -> KeepPositive:
    """``oracle:0.3`` → the filter; 0.2 nats per token is the default."""
    impact = parse_number(argument or str(DEFAULT_IMPACT_NATS), low=0)
    if impact is None:
        raise UsageError(
            f"oracle takes an impact in nats per token from 0 on, not {argument!r}",
            hint="For example: --arms none,all,oracle:0.2",
        )
    return KeepPositive(impact)

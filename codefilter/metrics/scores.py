"""What a metric family says about predictions, one by one and on average.

In: nothing but figures. Out: `Scores` per prediction, `ScoreSummary` over many. Similarities are percentages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_DECIMALS = 2  # of a percentage: all three released scripts report as many


@dataclass(frozen=True)
class Scores:
    """One prediction against the truth, by one family's rules."""

    exact_match: bool
    edit_similarity: float  # 0 to 100, as the family defines it
    levenshtein_similarity: float  # 0 to 100, 1 − distance / longer length, on what the family compares
    identifier_exact_match: bool  # identifiers of both are the same list
    identifier_f1: float  # 0 to 100, identifiers as sets
    compared: str  # the prediction as it was compared: cut, cleaned


@dataclass(frozen=True)
class ScoreSummary:
    """Means over predictions, in percent, rounded to two decimals as released."""

    num_predictions: int
    exact_match: float
    edit_similarity: float
    levenshtein_similarity: float
    identifier_exact_match: float
    identifier_f1: float


def summarize(scores: Sequence[Scores]) -> ScoreSummary:
    """Means of the scores of at least one prediction; `ValueError` for none."""
    if not scores:
        raise ValueError("no scores to average")

    def mean(values: Sequence[float]) -> float:
        return round(sum(values) / len(values), _DECIMALS)

    return ScoreSummary(
        num_predictions=len(scores),
        exact_match=mean([100.0 * s.exact_match for s in scores]),
        edit_similarity=mean([s.edit_similarity for s in scores]),
        levenshtein_similarity=mean([s.levenshtein_similarity for s in scores]),
        identifier_exact_match=mean([100.0 * s.identifier_exact_match for s in scores]),
        identifier_f1=mean([s.identifier_f1 for s in scores]),
    )

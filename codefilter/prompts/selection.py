"""Which kept chunks fit into the budget, and in which order they stand in the prompt.

In: filter decisions, what a chunk costs. Out: chunks in prompt order, and those left out. Over the budget the
least useful whole chunks go first; text is never cut.
Notable: ``position`` order (by path and line) does not depend on scores, so two requests that keep the same
chunks begin with the same tokens, and what was computed for the first serves the second. ``best-last`` puts
the best chunk next to the code (RepoCoder).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from codefilter.errors import UsageError
from codefilter.types import Chunk, FilterDecision, Polarity

CHUNK_ORDERS = ("position", "best-last")


def select_chunks(
    decisions: Sequence[FilterDecision], cost_tokens: Callable[[Chunk], int], budget_tokens: int, order: str
) -> tuple[list[Chunk], list[Chunk]]:
    """(chunks in prompt order, chunks that were kept but did not fit)."""
    if order not in CHUNK_ORDERS:
        raise UsageError(f"unknown chunk order {order!r}", hint=f"One of: {', '.join(CHUNK_ORDERS)}.")
    fitting: list[Chunk] = []
    dropped: list[Chunk] = []
    for decision in most_useful_first(decisions):
        cost = cost_tokens(decision.candidate.chunk)
        if cost <= budget_tokens:
            budget_tokens -= cost
            fitting.append(decision.candidate.chunk)
        else:
            dropped.append(decision.candidate.chunk)
    if order == "position":
        fitting.sort(key=lambda chunk: (chunk.path, chunk.start_line))
    else:
        fitting.reverse()
    return fitting, dropped


def most_useful_first(decisions: Iterable[FilterDecision]) -> list[FilterDecision]:
    """The kept ones: surest positives first, then by the retriever's rank."""
    return sorted((decision for decision in decisions if decision.keep), key=_usefulness)


def _usefulness(decision: FilterDecision) -> tuple[float, int]:
    sure = decision.confidence if decision.polarity is Polarity.POSITIVE else 0.0
    return -sure, decision.candidate.rank

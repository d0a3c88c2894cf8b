"""Which kept chunks fit into the budget, and in which order they stand in the prompt.

In: filter decisions. Out: chunks in prompt order, and those left out. Over the budget the least useful whole
chunks go first; text is never cut.
Notable: ``position`` order (by path and line) does not depend on scores, so two requests that keep the same
chunks begin with the same tokens, and what was computed for the first serves the second. ``best-last`` puts
the best chunk next to the code (RepoCoder).
"""

from __future__ import annotations

from collections.abc import Sequence

from codefilter.errors import UsageError
from codefilter.tokenizer import Tokenizer
from codefilter.types import Chunk, FilterDecision, Polarity

CHUNK_ORDERS = ("position", "best-last")
_HEADER_TOKENS = 16  # control token and path, about


def select_chunks(
    decisions: Sequence[FilterDecision], tokenizer: Tokenizer, budget_tokens: int, order: str
) -> tuple[list[Chunk], list[Chunk]]:
    """(chunks in prompt order, chunks that were kept but did not fit)."""
    if order not in CHUNK_ORDERS:
        raise UsageError(f"unknown chunk order {order!r}", hint=f"One of: {', '.join(CHUNK_ORDERS)}.")
    kept = sorted((d for d in decisions if d.keep), key=_usefulness)
    fitting: list[Chunk] = []
    dropped: list[Chunk] = []
    for decision in kept:
        cost = chunk_cost_tokens(decision.candidate.chunk, tokenizer)
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


def chunk_cost_tokens(chunk: Chunk, tokenizer: Tokenizer) -> int:
    """What a chunk takes of the budget: its text and about as much as its header has."""
    return len(tokenizer.encode(chunk.text)) + _HEADER_TOKENS


def _usefulness(decision: FilterDecision) -> tuple[float, int]:
    """Sort key, most useful first: surest positives, then the retriever's rank."""
    sure = decision.confidence if decision.polarity is Polarity.POSITIVE else 0.0
    return -sure, decision.candidate.rank

"""Filters that need no model: keep nothing, everything, the best k, the similar ones, some at random.

Those that keep all of an order as far as the token budget goes (`KeepAll` by rank, `KeepRandom`) make arms
of equal length under the same ``cross_file_tokens``; `codefilter.filters.matched` has those that are as long
as another filter's, task by task.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from codefilter.config import whole_number
from codefilter.errors import UsageError
from codefilter.filters.arguments import parse_number
from codefilter.filters.base import USUAL_CANDIDATES, FilterContext, Need
from codefilter.index.terms import terms
from codefilter.types import CompletionRequest, FilterDecision, Polarity, RetrievedChunk, content_hash

_NO_NEEDS: frozenset[Need] = frozenset()


def _decision(candidate: RetrievedChunk, keep: bool, reason: str) -> FilterDecision:
    return FilterDecision(candidate, keep, Polarity.UNKNOWN, 1.0, reason)


@dataclass(frozen=True)
class KeepNone:
    """No cross-file context: the baseline that every filter must beat."""

    name: str = "none"
    needs: frozenset[Need] = _NO_NEEDS
    usual_candidates: int = 0
    max_candidates: int | None = 0

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Drop everything."""
        return [_decision(candidate, False, "none is kept") for candidate in candidates]


@dataclass(frozen=True)
class KeepAll:
    """Everything that was retrieved, as far as the token budget goes."""

    name: str = "all"
    needs: frozenset[Need] = _NO_NEEDS
    usual_candidates: int = USUAL_CANDIDATES
    max_candidates: int | None = None

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Keep everything."""
        return [_decision(candidate, True, "all are kept") for candidate in candidates]


@dataclass(frozen=True)
class KeepTop:
    """The k best by the retriever's rank."""

    k: int
    needs: frozenset[Need] = _NO_NEEDS
    usual_candidates: int = USUAL_CANDIDATES
    max_candidates: int | None = None

    @property
    def name(self) -> str:
        """As `--filter` takes it."""
        return f"top-k:{self.k}"

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Keep ranks below k."""
        return [
            _decision(candidate, candidate.rank < self.k, f"rank {candidate.rank + 1}, {self.k} are kept")
            for candidate in candidates
        ]


@dataclass(frozen=True)
class KeepSimilar:
    """Chunks whose terms overlap enough with the lines around the cursor (Jaccard of term sets)."""

    threshold: float
    needs: frozenset[Need] = _NO_NEEDS
    usual_candidates: int = USUAL_CANDIDATES
    max_candidates: int | None = None

    @property
    def name(self) -> str:
        """As `--filter` takes it."""
        return f"threshold:{self.threshold:g}"

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Keep similarity at or above the threshold."""
        in_file = context.in_file
        before = (in_file.prefix + in_file.typed).split("\n")[-_QUERY_LINES:]
        query = set(terms("\n".join(before)))
        decisions = []
        for candidate in candidates:
            other = set(terms(candidate.chunk.text))
            similarity = len(query & other) / max(1, len(query | other))
            keep = similarity >= self.threshold
            decisions.append(
                _decision(candidate, keep, f"similarity {similarity:.2f}, threshold {self.threshold:g}")
            )
        return decisions


_QUERY_LINES = 20  # RepoCoder's window before the hole


@dataclass(frozen=True)
class KeepScored:
    """Chunks to which their retriever gave enough, on its own scale: for one retriever, not for `hybrid`."""

    threshold: float
    needs: frozenset[Need] = _NO_NEEDS
    usual_candidates: int = USUAL_CANDIDATES
    max_candidates: int | None = None

    @property
    def name(self) -> str:
        """As `--filter` takes it."""
        return f"score:{self.threshold:g}"

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Keep scores at or above the threshold."""
        return [
            _decision(
                candidate,
                candidate.score >= self.threshold,
                f"{candidate.retriever} {candidate.score:.3g}, threshold {self.threshold:g}",
            )
            for candidate in candidates
        ]


@dataclass(frozen=True)
class KeepRandom:
    """Chunks drawn at random until the token budget is full: what no reason at all would choose.

    The draw depends on the seed and the request only.
    """

    seed: int
    needs: frozenset[Need] = _NO_NEEDS
    usual_candidates: int = USUAL_CANDIDATES
    max_candidates: int | None = None

    @property
    def name(self) -> str:
        """As `--filter` takes it."""
        return f"random:{self.seed}"

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Keep what still fits, in the order of the draw."""
        left = context.budget_tokens
        kept = set()
        for candidate in draw_order(request, candidates, self.seed):
            cost = context.count_tokens(candidate.chunk)
            if cost <= left:
                left -= cost
                kept.add(candidate.chunk.chunk_id)
        return [
            _decision(candidate, candidate.chunk.chunk_id in kept, f"drawn at random, seed {self.seed}")
            for candidate in candidates
        ]


def draw_order(
    request: CompletionRequest, candidates: Sequence[RetrievedChunk], seed: int
) -> list[RetrievedChunk]:
    """The candidates, shuffled; the order depends on the seed and the request only."""
    place = content_hash(f"{request.path}\n{request.prefix}")
    order = sorted(candidates, key=lambda candidate: candidate.chunk.chunk_id)
    random.Random(f"{seed}:{place}").shuffle(order)
    return order


def parse_count(argument: str) -> KeepTop:
    """``top-k:3`` → the filter; 3 is the default."""
    k = whole_number(argument or "3")
    if k is None or k < 1:
        raise UsageError(
            f"top-k takes a number of chunks, not {argument!r}", hint="For example: --filter top-k:3"
        )
    return KeepTop(k)


def parse_seed(argument: str) -> KeepRandom:
    """``random:7`` → the filter; seed 0 is the default."""
    seed = whole_number(argument or "0")
    if seed is None or seed < 0:
        raise UsageError(f"random takes a seed, not {argument!r}", hint="For example: --filter random:7")
    return KeepRandom(seed)


def parse_score(argument: str) -> KeepScored:
    """``score:12.5`` → the filter."""
    threshold = parse_number(argument)
    if threshold is None:
        raise UsageError(
            f"score takes a score of the retriever, not {argument!r}",
            hint="For example: --filter score:12 --retriever bm25",
        )
    return KeepScored(threshold)


def parse_threshold(argument: str) -> KeepSimilar:
    """``threshold:0.2`` → the filter; 0.1 is the default."""
    threshold = parse_number(argument or "0.1", 0, 1)
    if threshold is None:
        raise UsageError(
            f"threshold takes a similarity from 0 to 1, not {argument!r}",
            hint="For example: --filter threshold:0.2",
        )
    return KeepSimilar(threshold)

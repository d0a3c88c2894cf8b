"""Several retrievers → one ranking, by reciprocal rank fusion.

In: the rankings of the parts. Out: chunks by the sum over rankings of 1 / (60 + rank), rank from 1
(Cormack, Clarke and Büttcher, SIGIR 2009): ranks can be added where scores of different scales cannot.
Chunks with the same text but for white space are given once, in their best place: a second copy only fills
the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from codefilter.retrieval.base import RetrievalQuery, Retriever
from codefilter.types import Chunk, RetrievedChunk

RANK_CONSTANT = 60
_MIN_DEPTH = 30  # so that a chunk far down in two rankings can pass one that is well placed in a single one


class HybridRetriever:
    """The union of several retrievers."""

    name = "hybrid"

    def __init__(self, parts: Sequence[Retriever]) -> None:
        self._parts = parts

    def retrieve(self, query: RetrievalQuery, k: int) -> list[RetrievedChunk]:
        """See `Retriever`; the score is the sum of reciprocal ranks."""
        scores: dict[Chunk, float] = {}
        for part in self._parts:
            for candidate in part.retrieve(query, max(_MIN_DEPTH, 2 * k)):
                reciprocal = 1 / (RANK_CONSTANT + 1 + candidate.rank)
                scores[candidate.chunk] = scores.get(candidate.chunk, 0.0) + reciprocal
        best_first = sorted(scores, key=lambda chunk: (-scores[chunk], chunk.path, chunk.start_line))
        distinct: dict[str, Chunk] = {}
        for chunk in best_first:
            distinct.setdefault(" ".join(chunk.text.split()), chunk)
        return [
            RetrievedChunk(chunk, scores[chunk], rank, self.name)
            for rank, chunk in enumerate(list(distinct.values())[: max(k, 0)])
        ]

"""BM25 by the rank-bm25 library: the reference that `bm25` must equal.

In and out as `bm25`. It reads the whole index and looks up every query word in every chunk, so it is for
tests, for comparisons and for doubt, not for daily use.
"""

from __future__ import annotations

import numpy as np
from rank_bm25 import BM25Okapi

from codefilter.index import RepositoryIndex, Snapshot
from codefilter.index.terms import terms
from codefilter.retrieval.base import RetrievalQuery
from codefilter.retrieval.query import query_text
from codefilter.retrieval.ranking import ranked
from codefilter.types import RetrievedChunk


class ReferenceBm25Retriever:
    """`rank_bm25.BM25Okapi` with its defaults, over the same terms."""

    name = "bm25-reference"

    def __init__(self, index: RepositoryIndex) -> None:
        self._index = index
        self._snapshot: Snapshot | None = None

    def retrieve(self, query: RetrievalQuery, k: int) -> list[RetrievedChunk]:
        """See `Retriever`; the score is BM25's."""
        snapshot = self._index.snapshot
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._slots = np.flatnonzero(snapshot.alive)
            self._documents = [terms(snapshot.chunk(slot).text) for slot in self._slots.tolist()]
            # rank-bm25 divides by the number of documents and of terms.
            self._bm25 = BM25Okapi(self._documents) if any(self._documents) else None
        if self._bm25 is None:
            return []
        query_terms = terms(query_text(query.request))
        wanted = set(query_terms)
        scores = np.zeros(snapshot.num_slots, np.float64)
        touched = np.zeros(snapshot.num_slots, np.bool_)
        scores[self._slots] = self._bm25.get_scores(query_terms)
        touched[self._slots] = [not wanted.isdisjoint(document) for document in self._documents]
        return ranked(snapshot, scores, touched, query, k, self.name)

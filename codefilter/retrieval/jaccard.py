"""Jaccard similarity of term sets: RepoCoder's retriever.

In: the lines before the hole. Out: chunks by |A ∩ B| / |A ∪ B|. RepoCoder (section 3.1) compares windows of
20 lines, so this belongs to an index with the chunker "window". Deviation: the sets are of our terms, where
RepoCoder takes the ids of the model's tokens; so the ranking does not change with the model, and the
postings of BM25 serve both. As there, the query has no lines after the hole; blank lines do not count among
its 20.
"""

from __future__ import annotations

import numpy as np

from codefilter.index import RepositoryIndex
from codefilter.index.terms import terms
from codefilter.retrieval.base import RetrievalQuery
from codefilter.retrieval.query import QueryOptions, query_text
from codefilter.retrieval.ranking import ranked
from codefilter.types import RetrievedChunk

REPOCODER_QUERY = QueryOptions(lines_before=20, lines_after=0)


class JaccardRetriever:
    """Chunks whose set of terms is most like that of the lines before the hole."""

    name = "jaccard"

    def __init__(self, index: RepositoryIndex) -> None:
        self._index = index

    def retrieve(self, query: RetrievalQuery, k: int) -> list[RetrievedChunk]:
        """See `Retriever`; the score is the similarity, above 0 and at most 1."""
        snapshot = self._index.snapshot
        wanted = set(terms(query_text(query.request, REPOCODER_QUERY)))
        common = np.zeros(snapshot.num_slots, np.int64)
        for term in wanted:
            term_id = snapshot.term_id(term)
            if term_id is not None:
                for slots, _ in snapshot.postings(term_id):
                    common[slots] += 1
        union = snapshot.distinct_terms + len(wanted) - common
        scores = common / np.maximum(union, 1)
        return ranked(snapshot, scores, common > 0, query, k, self.name)

"""Scores of all chunks → the best few, as `RetrievedChunk`s.

In: one score per slot of a snapshot. Out: at most k chunks, best first, ties in chunk order (path, then
place in the file). The same-file rule is applied here: such chunks are left out of the ranking, not of the
statistics, so that a chunk's score does not depend on where the cursor is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codefilter.index import Snapshot
from codefilter.index.postings import BoolArray
from codefilter.retrieval.base import RetrievalQuery
from codefilter.types import RetrievedChunk


def hidden_slots(snapshot: Snapshot, query: RetrievalQuery) -> list[int]:
    """Chunks of the query's own file that end after its in-file context begins."""
    slots = snapshot.slots_of(query.request.path)
    if not slots:
        return []
    entry, _ = snapshot.locate(slots.start)
    end_lines = entry.spans[:, 1].tolist()
    return [slot for slot, end in zip(slots, end_lines, strict=True) if end > query.in_file_start_line]


def best_slots(
    snapshot: Snapshot, scores: npt.NDArray[np.float64], candidates: BoolArray, k: int
) -> list[int]:
    """The at most `k` candidates with the highest scores, best first, ties in chunk order.

    Args:
        snapshot: the state of the index that was scored.
        scores: (slots,)
        candidates: (slots,) which slots may be returned
        k: how many
    """
    slots = np.flatnonzero(candidates)
    if k <= 0 or not len(slots):
        return []
    found = scores[slots]
    if len(slots) > k:  # everything as good as the k-th, so that ties are broken by order and not by chance
        threshold = np.partition(found, len(found) - k)[len(found) - k]
        slots, found = slots[found >= threshold], found[found >= threshold]

    def order(slot: int, score: float) -> tuple[float, str, int]:
        entry, position = snapshot.locate(slot)
        return -score, entry.path, position

    pairs = sorted(zip(slots.tolist(), found.tolist(), strict=True), key=lambda pair: order(*pair))
    return [slot for slot, _ in pairs[:k]]


def ranked(
    snapshot: Snapshot,
    scores: npt.NDArray[np.float64],
    candidates: BoolArray,
    query: RetrievalQuery,
    k: int,
    retriever: str,
) -> list[RetrievedChunk]:
    """`best_slots` by the same-file rule, as chunks."""
    candidates = candidates & snapshot.alive
    candidates[hidden_slots(snapshot, query)] = False
    return [
        RetrievedChunk(snapshot.chunk(slot), float(scores[slot]), rank, retriever)
        for rank, slot in enumerate(best_slots(snapshot, scores, candidates, k))
    ]

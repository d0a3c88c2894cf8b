"""What a repository knows about names: how rare they are, and which chunk defines them.

In: a `Snapshot` of the index and the place to complete. Out: `RepositoryFacts`.
Notable: the part of the place's own file that the prompt shows, or that is about to be written, does not
count. In training the truth stands there, and a name that occurs only in the truth would otherwise be told
apart by its document frequency.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from pathlib import Path

from codefilter.index import RepositoryIndex
from codefilter.retrieval.base import RetrievalQuery
from codefilter.retrieval.ranking import hidden_slots
from codefilter.types import Chunk

_REMEMBERED_SETS = 1024  # of names, with their weights


class RepositoryFacts:
    """One state of a repository, as it looks from one place."""

    def __init__(self, index: RepositoryIndex, query: RetrievalQuery) -> None:
        self.root: Path = index.root
        self._snapshot = index.snapshot
        self._hidden = hidden_slots(self._snapshot, query)
        self._rarities: dict[str, float] = {}
        self._weights: dict[frozenset[str], float] = {}

    def is_as(self, other: RepositoryFacts) -> bool:
        """Whether both say the same of everything: who types stays in one place, mostly."""
        return self._snapshot is other._snapshot and self._hidden == other._hidden

    def rarity(self, name: str) -> float:
        """How much it says that a chunk has this name: 1 where no chunk has it, 0 where all do.

        Inverse document frequency over its largest value, so that repositories of all sizes compare.
        """
        known = self._rarities.get(name)
        if known is None:
            self._rarities[name] = known = self._compute_rarity(name.strip("_").lower())
        return known

    def weight(self, names: frozenset[str]) -> float:
        """Sum of the rarities of names that will be asked for again: of a whole place, a whole chunk."""
        known = self._weights.get(names)
        if known is None:
            if len(self._weights) >= _REMEMBERED_SETS:
                self._weights.clear()
            self._weights[names] = known = sum(map(self.rarity, names))
        return known

    def _compute_rarity(self, term: str) -> float:
        term_id = self._snapshot.term_id(term)
        if term_id is None:
            return 1.0
        frequency = int(self._snapshot.document_frequency[term_id]) - self._hidden_frequency[term]
        return math.log(self._num_chunks / (max(frequency, 0) + 1)) / math.log(self._num_chunks)

    @cached_property
    def _num_chunks(self) -> int:
        return max(1, self._snapshot.num_chunks - len(self._hidden)) + 1

    @cached_property
    def _hidden_frequency(self) -> Counter[str]:
        """In how many chunks that do not count each term occurs."""
        found: Counter[str] = Counter()
        if self._hidden:
            words: list[str] = []
            for slot in self._hidden:
                entry, position = self._snapshot.locate(slot)
                words = words or entry.terms.split("\n")
                end = int(entry.chunk_sizes[: position + 1].sum())
                start = end - int(entry.chunk_sizes[position])
                found.update(words[term] for term in entry.chunk_terms[start:end].tolist())
        return found

    def defined_names(self, chunk: Chunk) -> frozenset[str]:
        """Short names of what a chunk of the index defines; empty for other chunks."""
        for slot in self._snapshot.slots_of(chunk.path):
            entry, position = self._snapshot.locate(slot)
            start_line, end_line = entry.spans[position, :2].tolist()
            if (start_line, end_line) == (chunk.start_line, chunk.end_line):
                return frozenset(d.name for d in entry.definitions if d.chunk_index == position)
        return frozenset()

"""File entries → what retrievers search: term → chunks, name → definitions, and the chunks themselves.

In: `FileEntry`s and a `Vocabulary`. Out: a `Snapshot`, which never changes, so that a query sees one state
while the editor types. It has two `Segment`s: `main` with the bulk of the repository, and a small `fresh`
one with the files that changed since `main` was built. A change makes a new `fresh` segment and marks the
old chunks of `main` as dead; only when `fresh` has grown is everything built anew. Chunks are known by
their slot: their position in `main`, then in `fresh`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codefilter.chunking import ChunkDefinition
from codefilter.index.entry import FileEntry, Int32Array
from codefilter.types import Chunk

BoolArray = npt.NDArray[np.bool_]

_MIN_CHUNKS_TO_MERGE = 2_000
_SHARE_TO_MERGE = 1 / 8


class Vocabulary:
    """Numbers terms in the order they come. It only grows; a new one is begun when most are forgotten."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def get(self, term: str) -> int | None:
        """The term's number, if it has one."""
        return self._ids.get(term)

    def intern(self, terms: str) -> Int32Array:
        """Numbers of newline-separated terms; new ones are added."""
        ids = self._ids
        return np.array([ids.setdefault(term, len(ids)) for term in terms.split("\n")], np.int32)


@dataclass(frozen=True, eq=False)
class IndexedFile:
    """A file entry and the numbers of its terms in the index's vocabulary."""

    entry: FileEntry
    term_ids: Int32Array  # (distinct terms of the file,)


class Postings(NamedTuple):
    """The chunks of one segment that contain a term."""

    slots: Int32Array  # (postings,) ascending
    counts: Int32Array  # (postings,) occurrences, at least 1


@dataclass(frozen=True, eq=False)
class Definition:
    """A definition and where it is."""

    path: str
    language: str
    slot: int  # of the chunk where it begins
    definition: ChunkDefinition


class Segment:
    """An inverted index over some files. Its slots begin at `first_slot`."""

    def __init__(self, files: Sequence[IndexedFile], first_slot: int) -> None:
        self.files = {file.entry.path: file for file in files}
        self.first_slot = first_slot
        sizes = [file.entry.num_chunks for file in files]
        self._file_ends = first_slot + np.cumsum(sizes, dtype=np.int64)
        self.num_chunks = int(sum(sizes))
        starts = (self._file_ends - sizes).tolist()
        self._slots_of_path = {
            file.entry.path: range(start, start + size)
            for file, start, size in zip(files, starts, sizes, strict=True)
        }
        self._entries = [file.entry for file in files]

        self.distinct_terms = _joined([entry.chunk_sizes for entry in self._entries])  # (chunks,)
        terms = _joined([file.term_ids[file.entry.chunk_terms] for file in files])
        counts = _joined([entry.chunk_counts for entry in self._entries])
        row_slots = np.repeat(np.arange(self.num_chunks, dtype=np.int32), self.distinct_terms)
        self.lengths = np.bincount(row_slots, counts, self.num_chunks).astype(np.int64)  # (chunks,) in terms
        by_term = np.argsort(terms, kind="stable")
        self.document_frequency = np.bincount(terms).astype(np.int32)  # (terms,)
        self._term_ends = np.cumsum(self.document_frequency)
        self._posting_slots = row_slots[by_term] + np.int32(first_slot)
        self._posting_counts = counts[by_term]

        self._definitions: dict[str, list[tuple[FileEntry, ChunkDefinition]]] = {}
        for entry in self._entries:
            for definition in entry.definitions:
                self._definitions.setdefault(definition.name, []).append((entry, definition))

    def postings(self, term_id: int) -> Postings | None:
        """The chunks with a term, or None where there are none."""
        if term_id >= len(self._term_ends):
            return None
        end = self._term_ends[term_id]
        span = slice(end - self.document_frequency[term_id], end)
        if span.start == span.stop:
            return None
        return Postings(self._posting_slots[span], self._posting_counts[span])

    def slots_of(self, path: str) -> range:
        """The slots of a file's chunks; empty where the segment does not have the file."""
        return self._slots_of_path.get(path, range(0))

    def locate(self, slot: int) -> tuple[FileEntry, int]:
        """The file of a slot, and the chunk's position in it."""
        position = int(np.searchsorted(self._file_ends, slot, side="right"))
        entry = self._entries[position]
        return entry, slot - int(self._file_ends[position]) + entry.num_chunks

    def definitions_of(self, name: str) -> Sequence[tuple[FileEntry, ChunkDefinition]]:
        """Every definition with a short name, by path and place in the file."""
        return self._definitions.get(name, ())


def _joined(arrays: Sequence[Int32Array]) -> Int32Array:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int32)


class Snapshot:
    """One state of the index, complete and unchanging."""

    def __init__(
        self, files: Mapping[str, IndexedFile], vocabulary: Vocabulary, main: Segment | None
    ) -> None:
        """Search over `files`; those that `main` has in the same version are not indexed again."""
        self.vocabulary = vocabulary
        known = main.files if main is not None else {}
        changed = [file for path, file in files.items() if known.get(path) is not file]
        dead = [file for path, file in known.items() if files.get(path) is not file]
        if main is None or _is_worn(main, changed, dead):
            main, changed, dead = Segment(_by_path(files.values()), 0), [], []
        self.main = main
        self.fresh = Segment(_by_path(changed), main.num_chunks)
        self.segments = (self.main, self.fresh)
        self.num_slots = self.main.num_chunks + self.fresh.num_chunks

        self.alive: BoolArray = np.ones(self.num_slots, np.bool_)  # (slots,)
        for file in dead:
            slots = self.main.slots_of(file.entry.path)
            self.alive[slots.start : slots.stop] = False
        self.num_chunks = int(np.count_nonzero(self.alive))
        self.lengths = np.concatenate([segment.lengths for segment in self.segments])  # (slots,)
        self.distinct_terms = _joined([segment.distinct_terms for segment in self.segments])  # (slots,)
        self.document_frequency = self._document_frequency(dead)  # (terms,)

    def _document_frequency(self, dead: Sequence[IndexedFile]) -> Int32Array:
        """In how many living chunks each term occurs."""
        frequency = np.zeros(len(self.vocabulary), np.int32)
        for segment in self.segments:
            frequency[: len(segment.document_frequency)] += segment.document_frequency
        for file in dead:
            np.subtract.at(frequency, file.term_ids[file.entry.chunk_terms], 1)
        return frequency

    @property
    def num_forgotten_terms(self) -> int:
        """How many terms of the vocabulary no living chunk contains."""
        return self.document_frequency.size - int(np.count_nonzero(self.document_frequency))

    def term_id(self, term: str) -> int | None:
        """The number of a term that some living chunk contains."""
        found = self.vocabulary.get(term)
        known = found is not None and found < len(self.document_frequency) and self.document_frequency[found]
        return found if known else None

    def postings(self, term_id: int) -> Iterator[Postings]:
        """The chunks with a term, dead ones among them, segment by segment."""
        for segment in self.segments:
            postings = segment.postings(term_id)
            if postings is not None:
                yield postings

    def slots_of(self, path: str) -> range:
        """The slots of a file's living chunks, in file order."""
        fresh = self.fresh.slots_of(path)
        if fresh:
            return fresh
        slots = self.main.slots_of(path)
        return slots if slots and self.alive[slots.start] else range(0)

    def locate(self, slot: int) -> tuple[FileEntry, int]:
        """The file of a slot, and the chunk's position in it: their order is the order of chunks."""
        segment = self.main if slot < self.main.num_chunks else self.fresh
        return segment.locate(slot)

    def chunk(self, slot: int) -> Chunk:
        """Make the chunk of a slot."""
        entry, position = self.locate(slot)
        return entry.chunk(position)

    def num_definitions(self, name: str) -> int:
        """How many definitions have a short name, dead ones among them: a quick upper bound."""
        return sum(len(segment.definitions_of(name)) for segment in self.segments)

    def definitions(self, name: str) -> list[Definition]:
        """Living definitions with a short name."""
        found = []
        for segment in self.segments:
            for entry, definition in segment.definitions_of(name):
                slot = segment.slots_of(entry.path).start + definition.chunk_index
                if self.alive[slot]:
                    found.append(Definition(entry.path, entry.language, slot, definition))
        return found


def _is_worn(main: Segment, changed: Sequence[IndexedFile], dead: Sequence[IndexedFile]) -> bool:
    """Whether so much changed since `main` was built that building it anew pays."""
    num_chunks = sum(file.entry.num_chunks for file in (*changed, *dead))
    return num_chunks > max(_MIN_CHUNKS_TO_MERGE, main.num_chunks * _SHARE_TO_MERGE)


def _by_path(files: Iterable[IndexedFile]) -> list[IndexedFile]:
    return sorted(files, key=lambda file: file.entry.path)

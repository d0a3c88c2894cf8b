"""Texts that are nearly the same as another: what keeps test data out of training data, and the other way.

In: (id, text) items and (id, text) references. Out: the items that have a near-duplicate, which reference it
is, and how similar. A text is the set of its runs of five tokens; the similarity is the Jaccard index of two
such sets (Allamanis, "The Adverse Effects of Code Duplication", arXiv 1812.06469, uses sets of tokens with
0.8; runs of tokens are stricter, so that the threshold can be lower). White space does not count; names do.

Notable: MinHash with locality-sensitive hashing (datasketch, MIT) only proposes pairs, and proposes too many;
the similarity that decides and is returned is the exact one. The same texts give the same answer in every
process: tokens are hashed by crc32, not by Python's own hash.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

DEFAULT_THRESHOLD = 0.7

_TOKEN = re.compile(r"\w+|[^\w\s]")
_RUN = 5  # tokens of a shingle
_PERMUTATIONS = 128
_SPURIOUS_AND_MISSED = (0.1, 0.9)  # how bad proposed pairs that are none are, and pairs not proposed
_MAX_PROPOSING = 0.99  # datasketch finds no parameters for a threshold of 1
_MULTIPLIER = 0x01000193  # FNV's prime: odd, so that the order of tokens counts

Shingles = NDArray[np.uint32]  # (runs,), sorted, each once


@dataclass(frozen=True)
class NearDuplicate:
    """An item and the reference that is most like it."""

    item_id: str
    reference_id: str
    similarity: float  # Jaccard index of the sets of five-token runs, threshold to 1


def find_near_duplicates(
    items: Iterable[tuple[str, str]],
    references: Iterable[tuple[str, str]],
    threshold: float = DEFAULT_THRESHOLD,
) -> list[NearDuplicate]:
    """Items that are at least `threshold` similar to a reference, in the items' order, each once.

    Args:
        items: (id, text); texts without a token have no duplicates.
        references: (id, text), ids distinct; about 2 kB of memory each.
        threshold: similarity from which on two texts are near-duplicates, above 0 and at most 1.

    Raises:
        ValueError: a threshold out of range, or two references with the same id.
    """
    known = KnownTexts(threshold)
    for reference_id, text in references:
        known.add(reference_id, text)
    nearest = ((item_id, known.nearest(text)) for item_id, text in items)
    return [NearDuplicate(item_id, *found) for item_id, found in nearest if found is not None]


class KnownTexts:
    """Texts that others are held against; it may grow between two questions."""

    def __init__(self, threshold: float = DEFAULT_THRESHOLD) -> None:
        """None is known; the similarity that counts is above 0 and at most 1, `ValueError` for others."""
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold {threshold} is not above 0 and at most 1")
        self._threshold = threshold
        self._lsh = MinHashLSH(
            threshold=min(threshold, _MAX_PROPOSING), num_perm=_PERMUTATIONS, weights=_SPURIOUS_AND_MISSED
        )
        self._sketcher = _Sketcher()
        self._known: dict[str, Shingles] = {}

    def add(self, text_id: str, text: str) -> None:
        """Know one more; a text without a token is like none. `ValueError` for an id that is known."""
        shingles = self._sketcher.shingles(text)
        if shingles.size:
            self._lsh.insert(text_id, self._sketcher.sketch(shingles))
            self._known[text_id] = shingles

    def nearest(
        self, text: str, skip: Callable[[str], bool] = lambda text_id: False
    ) -> tuple[str, float] | None:
        """The id of the text that is most like this one, and how much; None below the threshold.

        `skip` tells which ids do not count.
        """
        shingles = self._sketcher.shingles(text)
        if not shingles.size:
            return None
        proposed = sorted(self._lsh.query(self._sketcher.sketch(shingles)))
        rated = [
            (similarity(shingles, self._known[text_id]), text_id) for text_id in proposed if not skip(text_id)
        ]
        best = max(rated, key=lambda pair: pair[0], default=(0.0, ""))
        return (best[1], best[0]) if best[0] >= self._threshold else None


def similarity(first: Shingles, second: Shingles) -> float:
    """Jaccard index of two sets of which one is not empty."""
    common = np.intersect1d(first, second, assume_unique=True).size
    return float(common / (first.size + second.size - common))


class _Sketcher:
    """Text → shingles → MinHash, with what is shared between texts."""

    def __init__(self) -> None:
        self._hashes: dict[str, int] = {}
        self._permutations = MinHash(num_perm=_PERMUTATIONS).permutations

    def shingles(self, text: str) -> Shingles:
        """Hashes of all runs of tokens; of the whole text where it is shorter than a run."""
        tokens = _TOKEN.findall(text)
        if not tokens:
            return np.empty(0, np.uint32)
        hashes = np.array([self._hash(token) for token in tokens], np.uint32)
        return np.unique(_runs(hashes, min(_RUN, len(tokens))))

    def sketch(self, shingles: Shingles) -> MinHash:
        """The MinHash of a set that is not empty."""
        sketch = MinHash(
            num_perm=_PERMUTATIONS, hashfunc=int, permutations=self._permutations, scheme="affine32"
        )
        sketch.update_batch(shingles.tolist())
        return sketch

    def _hash(self, token: str) -> int:
        value = self._hashes.get(token)
        if value is None:
            value = self._hashes[token] = zlib.crc32(token.encode("utf-8", "surrogatepass"))
        return value


def _runs(hashes: NDArray[np.uint32], length: int) -> NDArray[np.uint32]:
    """One hash for every run of so many tokens, (tokens - length + 1,); sums wrap around at 32 bits."""
    count = hashes.size - length + 1
    runs = np.zeros(count, np.uint32)
    for offset in range(length):
        runs = runs * np.uint32(_MULTIPLIER) + hashes[offset : offset + count]
    return runs

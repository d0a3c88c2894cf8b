"""KV caches of earlier prompts, for going back to one: another file, other chunks, what a filter read.

In: what a session holds, and the prompt that comes. Out: an earlier KV cache that serves the prompt better.
Notable: taking a cache away and bringing it back costs milliseconds, reading a prompt again costs seconds.
What is kept is bounded by memory; the least recently used goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from codefilter.lm.decoding import common_prefix_length

MIN_TOKENS = 768  # a hole that moves costs less: it and the suffix are read again

T = TypeVar("T")


@dataclass(frozen=True)
class Kept(Generic[T]):
    """An engine's KV cache, and the tokens that it stands for."""

    token_ids: tuple[int, ...]
    state: T


class KeptStates(Generic[T]):
    """KV caches of one session, most recently used last."""

    def __init__(self, max_tokens: int) -> None:
        """Keep at most so many tokens altogether."""
        self._max_tokens = max_tokens
        self._kept: list[Kept[T]] = []

    def exchange(self, held: Sequence[int], wanted: Sequence[int], take: Callable[[], T]) -> Kept[T] | None:
        """Find the cache to go on from, and keep the held one where going on would lose much of it.

        Args:
            held: tokens of the session's present KV cache.
            wanted: tokens that are to be read.
            take: gives a copy of the present cache.

        Returns:
            An earlier cache, no longer kept here, that spares at least `MIN_TOKENS` tokens more than the
            present one; None where there is none.
        """
        found, _ = self._find(held, wanted)
        if found is not None:
            self._kept.remove(found)
        if found is not None and len(held) >= MIN_TOKENS:
            self._keep(tuple(held), take)
        else:
            self.set_aside(held, wanted, take)
        return found

    def reusable_tokens(self, held: Sequence[int], wanted: Sequence[int]) -> int:
        """How many of the wanted tokens are held, or in the state that `exchange` would find."""
        return self._find(held, wanted)[1]

    def _find(self, held: Sequence[int], wanted: Sequence[int]) -> tuple[Kept[T] | None, int]:
        """The kept state to go back to, if any, and how many tokens need not be read then."""
        shared = common_prefix_length(held, wanted)
        lengths = [common_prefix_length(kept.token_ids, wanted) for kept in self._kept]
        longest = max(lengths, default=0)
        if longest < shared + MIN_TOKENS:
            return None, shared
        return self._kept[lengths.index(longest)], longest

    def set_aside(self, held: Sequence[int], wanted: Sequence[int], take: Callable[[], T]) -> None:
        """Keep the held cache where reading the wanted tokens would lose much of it."""
        if len(held) - common_prefix_length(held, wanted) >= MIN_TOKENS:
            self._keep(tuple(held), take)

    def clear(self) -> None:
        """Keep nothing any more."""
        self._kept.clear()

    def _keep(self, token_ids: tuple[int, ...], take: Callable[[], T]) -> None:
        if len(token_ids) > self._max_tokens:
            return
        # an older cache of the same text is of no more use
        self._kept = [
            k for k in self._kept if common_prefix_length(k.token_ids, token_ids) < len(k.token_ids)
        ]
        while sum(len(k.token_ids) for k in self._kept) + len(token_ids) > self._max_tokens:
            del self._kept[0]
        self._kept.append(Kept(token_ids, take()))

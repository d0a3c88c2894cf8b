"""Many continuations of one context as one sequence, so that a model reads the context once and never pads.

In: `Continuation`s behind a shared context. Out: `Pack`s for one forward pass each, and the log-likelihoods
back out of the pass's logits. Which token may attend to which is the engine's part: every segment sees the
context and itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codefilter.lm.base import Continuation
from codefilter.types import LogLikelihood

MAX_PACKED_TOKENS = 2048  # per forward pass: bounds the memory of activations


@dataclass(frozen=True)
class Pack:
    """One forward pass. Every segment begins with the context's last token: its logits predict the first."""

    continuations: tuple[Continuation, ...]
    token_ids: NDArray[np.int64]  # (tokens,)
    positions: NDArray[np.int64]  # (tokens,), of each token in its own sequence
    segments: tuple[int, ...]  # lengths
    rows: NDArray[np.int64]  # (targets,): where logits predict a target
    targets: NDArray[np.int64]  # (targets,)

    def log_likelihoods(
        self, log_probabilities: Sequence[float], entropies: Sequence[float]
    ) -> list[LogLikelihood]:
        """Sort what was measured at every target, (targets,) both, back to the continuations."""
        results, start = [], 0
        for continuation in self.continuations:
            part = slice(start, start + continuation.num_targets)
            values = tuple(log_probabilities[part])
            results.append(LogLikelihood(sum(values), values, tuple(entropies[part])))
            start += continuation.num_targets
        return results


def packs(
    last: int, num_shared: int, continuations: Sequence[Continuation], max_tokens: int = MAX_PACKED_TOKENS
) -> Iterator[Pack]:
    """Consecutive continuations, each pack within `max_tokens` (a longer one goes alone).

    Args:
        last: The context's last token, repeated before every continuation.
        num_shared: How many tokens stand before it, read already.
        continuations: What follows the context.
        max_tokens: Per pack.
    """
    start = tokens = 0
    for stop, continuation in enumerate(continuations):
        length = len(continuation.token_ids) + 1
        if tokens + length > max_tokens and stop > start:
            yield _pack(last, num_shared, tuple(continuations[start:stop]))
            start, tokens = stop, 0
        tokens += length
    if start < len(continuations):
        yield _pack(last, num_shared, tuple(continuations[start:]))


def _pack(last: int, num_shared: int, continuations: tuple[Continuation, ...]) -> Pack:
    segments = tuple(len(c.token_ids) + 1 for c in continuations)
    ends = np.cumsum(segments)
    # logits at position p predict the token at p + 1: the last target is predicted by the last but one
    rows = [np.arange(end - 1 - c.num_targets, end - 1) for end, c in zip(ends, continuations, strict=True)]
    targets = [t for c in continuations for t in c.token_ids[len(c.token_ids) - c.num_targets :]]
    return Pack(
        continuations,
        np.array([t for c in continuations for t in (last, *c.token_ids)], dtype=np.int64),
        np.concatenate([np.arange(num_shared, num_shared + length) for length in segments]),
        segments,
        np.concatenate(rows),
        np.array(targets, dtype=np.int64),
    )

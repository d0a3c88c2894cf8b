"""Seconds of repeated work, summed up.

In: measurements. Out: a `Spread`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Seconds of repeated work."""

    median_seconds: float
    p95_seconds: float
    max_seconds: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Sum up measurements; of few, the 95th percentile is the largest."""
        ordered = sorted(seconds)
        return cls(
            statistics.median(ordered), ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)], ordered[-1]
        )

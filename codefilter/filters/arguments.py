"""Numbers behind a filter's name: what ``threshold:0.2`` and its like take.

In: the text behind the colon. Out: a number, or None where it is none or out of range; what then is said,
the filter knows.
"""

from __future__ import annotations

import math


def parse_number(text: str, low: float = -math.inf, high: float = math.inf) -> float | None:
    """A finite number from `low` to `high`; None for anything else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and low <= number <= high else None

"""What a filter that asks no model costs: deciding on ten chunks at a new place, and while a line is typed.

In: a filter, places of real tasks with their candidates. Out: a `DecisionTiming` per state. Cold: nothing of
the place or its chunks was seen before. Warm: the same place, some characters later. Baseline: `perplexity`,
which asks the completing model about every chunk, on the first places.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from codefilter.filters.base import ChunkFilter, FilterContext
from codefilter.speed.spread import Spread
from codefilter.types import CompletionRequest, RetrievedChunk

_TYPED = 3  # characters between cold and warm


@dataclass(frozen=True)
class DecisionPlace:
    """A place to decide at."""

    request: CompletionRequest
    candidates: tuple[RetrievedChunk, ...]
    target: str
    context: Callable[[CompletionRequest], FilterContext]  # of the place, however much is typed there


@dataclass(frozen=True)
class DecisionTiming:
    """One filter in one state."""

    filter: str
    state: str
    places: int
    candidates: float  # mean
    decision: Spread
    ratio: float  # median seconds of the baseline over these


def measure_decisions(
    make_filter: Callable[[], ChunkFilter],
    baseline: ChunkFilter,
    places: Iterable[DecisionPlace],
    compared: int,
) -> list[DecisionTiming]:
    """Decide at every place twice, the second time a little further on.

    Args:
        make_filter: a filter that has seen nothing yet.
        baseline: asked at the first places.
        places: where.
        compared: at how many places the baseline is asked.
    """
    seconds: dict[str, list[float]] = {"baseline": [], "cold": [], "warm": []}
    counts: list[int] = []
    name = ""
    for number, place in enumerate(places):
        chosen = make_filter()
        name = chosen.name
        counts.append(len(place.candidates))
        further = replace(place.request, prefix=place.request.prefix + _beginning(place.target))
        seconds["cold"].append(_decide(chosen, place, place.request))
        seconds["warm"].append(_decide(chosen, place, further))
        if number < compared:
            seconds["baseline"].append(_decide(baseline, place, place.request))
    mean = sum(counts) / max(1, len(counts))
    slow = Spread.of(seconds["baseline"])

    def timing(filter_name: str, state: str, measured: list[float]) -> DecisionTiming:
        spread = Spread.of(measured)
        return DecisionTiming(
            filter_name, state, len(measured), mean, spread, slow.median_seconds / spread.median_seconds
        )

    return [
        timing(baseline.name, "cold", seconds["baseline"]),
        timing(name, "cold", seconds["cold"]),
        timing(name, "warm", seconds["warm"]),
    ]


def _decide(chosen: ChunkFilter, place: DecisionPlace, request: CompletionRequest) -> float:
    context = place.context(request)
    started = time.perf_counter()
    chosen.decide(request, place.candidates, context)
    return time.perf_counter() - started


def _beginning(target: str) -> str:
    """The target's indentation and its first characters."""
    return target[: len(target) - len(target.lstrip()) + _TYPED]

"""Filter names → filters. A name may carry an argument: ``top-k:3``."""

from __future__ import annotations

from collections.abc import Callable

from codefilter.errors import UsageError
from codefilter.filters.base import ChunkFilter
from codefilter.filters.oracle import parse_impact
from codefilter.filters.perplexity import parse_gain
from codefilter.filters.simple import (
    KeepAll,
    KeepNone,
    parse_count,
    parse_score,
    parse_seed,
    parse_threshold,
)

FILTERS: dict[str, Callable[[str], ChunkFilter]] = {
    "none": lambda argument: KeepNone(),
    "all": lambda argument: KeepAll(),
    "top-k": parse_count,
    "threshold": parse_threshold,
    "score": parse_score,
    "random": parse_seed,
    "perplexity": parse_gain,
    "oracle": parse_impact,  # evaluation only
}


def get_filter(name: str) -> ChunkFilter:
    """The filter of that name; `UsageError` for an unknown one or a wrong argument."""
    kind, _, argument = name.partition(":")
    if kind not in FILTERS:
        raise UsageError(f"unknown filter {name!r}", hint=f"Filters: {', '.join(FILTERS)}.")
    return FILTERS[kind](argument)

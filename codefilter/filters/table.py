"""Filter names → filters. A name may carry an argument: ``top-k:3``, ``random-like:classifier``."""

from __future__ import annotations

from collections.abc import Callable

from codefilter.config import Settings
from codefilter.errors import UsageError
from codefilter.filters.base import ChunkFilter
from codefilter.filters.classifier import parse_classifier
from codefilter.filters.cross import parse_cross
from codefilter.filters.generative import parse_generative
from codefilter.filters.matched import ORDERS, parse_reference
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

Parser = Callable[[str, Settings], ChunkFilter]
"""From the argument behind the colon, and the settings at work, to the filter."""


def _plain(parse: Callable[[str], ChunkFilter]) -> Parser:
    """A filter that no setting changes."""
    return lambda argument, settings: parse(argument)


def _bare(kind: str, chosen: ChunkFilter) -> Parser:
    """A filter that takes no argument."""

    def parse(argument: str, settings: Settings) -> ChunkFilter:
        if argument:
            raise UsageError(
                f"{kind} takes nothing behind it, not {argument!r}", hint=f"Write --filter {kind}."
            )
        return chosen

    return parse


def _as_much(kind: str) -> Parser:
    """A control that spends what another filter of this table spends."""
    return lambda argument, settings: parse_reference(kind, argument, lambda name: get_filter(name, settings))


FILTERS: dict[str, Parser] = {
    "none": _bare("none", KeepNone()),
    "all": _bare("all", KeepAll()),
    "top-k": _plain(parse_count),
    "threshold": _plain(parse_threshold),
    "score": _plain(parse_score),
    "random": _plain(parse_seed),
    "perplexity": _plain(parse_gain),
    "classifier": parse_classifier,
    "cross": parse_cross,
    "generative": parse_generative,
    "oracle": _plain(parse_impact),  # evaluation only
    **{kind: _as_much(kind) for kind in ORDERS},
}


def get_filter(name: str, settings: Settings | None = None) -> ChunkFilter:
    """The filter of that name, for work under these settings (the defaults where none are given).

    Raises:
        UsageError: an unknown name or a wrong argument.
        FilterError: a trained filter whose weights are not there or do not fit the settings.
    """
    kind, _, argument = name.partition(":")
    if kind not in FILTERS:
        raise UsageError(f"unknown filter {name!r}", hint=f"Filters: {', '.join(FILTERS)}.")
    return FILTERS[kind](argument, settings if settings is not None else Settings())

"""Settings that name something of a table: whether it is there.

In: a setting's name, `Settings`. Out: nothing, or an error that lists what there is. Who completes finds out
anyway; whoever only holds settings (the server, `doctor`) asks here.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping

from codefilter.chunking import CHUNKERS, find_chunker
from codefilter.config import Settings
from codefilter.errors import ConfigError
from codefilter.filters.table import FILTERS, get_filter
from codefilter.prompts.layouts import LAYOUT_NAMES
from codefilter.prompts.selection import CHUNK_ORDERS
from codefilter.retrieval.table import RETRIEVERS

CHOICES: Mapping[str, Collection[str]] = {
    "filter": FILTERS,
    "retriever": RETRIEVERS,
    "chunker": CHUNKERS,
    "layout": LAYOUT_NAMES,
    "chunk_order": CHUNK_ORDERS,
}
_WITH_ARGUMENTS = ("filter", "chunker")  # after a colon
_LONGEST_NAME = 100  # with its argument; a repository could nest filters, or write numbers, without end


def check_choice(name: str, settings: Settings) -> None:
    """Hold one of `CHOICES` against its table.

    Raises:
        UsageError: no such name, or what takes no such argument.
        FilterError: a trained filter with an argument whose weights are not there, or not for these settings.
    """
    chosen, table = getattr(settings, name), CHOICES[name]
    kind, colon, _ = chosen.partition(":")
    if len(chosen) > _LONGEST_NAME or (kind if name in _WITH_ARGUMENTS else chosen) not in table:
        raise ConfigError(f"unknown {name} {reprlib.repr(chosen)}", hint=f"One of: {', '.join(table)}.")
    if name == "chunker":
        find_chunker(chosen)
    if name == "filter" and colon:  # the bare name would only load what it was trained to
        get_filter(chosen, settings)

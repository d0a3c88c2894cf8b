"""Measurements → a record of them: what was measured, of what, where and when.

In: rows of one measurement, the model and the settings behind them. Out: a dictionary for a JSON file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from codefilter import __version__
from codefilter.config import Settings
from codefilter.filters.base import TrainedChunkFilter
from codefilter.filters.table import get_filter
from codefilter.lm.base import LanguageModel
from codefilter.machine import commit, machine
from codefilter.prompts.formats import get_format
from codefilter.prompts.layouts import writing_layout


def speed_record(
    what: str, rows: Sequence[Mapping[str, Any]], details: Mapping[str, object]
) -> dict[str, object]:
    """The record of a measurement; `details` are what the others say of it."""
    return {
        "measured": what,
        "codefilter": __version__,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        **details,
        "rows": list(rows),
    }


def details_of(model: LanguageModel) -> dict[str, object]:
    """What a record says of a model."""
    identity = model.identity
    return {"model": identity.name, "sha256": identity.sha256, "engine": model.description}


def conditions_of(settings: Settings, model: LanguageModel, filters: Sequence[str]) -> dict[str, object]:
    """What a record says of prompts: their layout, the filters' weights, retriever, budgets and so on."""
    chosen = [get_filter(name, settings) for name in filters]
    return {
        "layout": writing_layout(settings.layout, get_format(model.identity.family, model.tokenizer)),
        "weights_sha256": {f.name: f.weights_sha256 for f in chosen if isinstance(f, TrainedChunkFilter)},
        "settings": {name: value for name, value in asdict(settings).items() if name != "filter"},
    }

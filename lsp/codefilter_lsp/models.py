"""Loaded models: on demand, shared by folders, gone again when nobody asks.

In: settings. Out: a `LanguageModel` and what is known of its speed. For the model's thread only, so that no
model goes while it works.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from codefilter.budget import ReadingCost
from codefilter.config import Settings
from codefilter.errors import CodeFilterError
from codefilter.lm.base import Cancellation, GenerationOptions, LanguageModel
from codefilter.lm.loading import load_configured_model

MODEL_RETRY_SECONDS = 10.0

Key = tuple[str, ...]


def warm_up(model: LanguageModel, stopping: Cancellation) -> None:
    """Let a model write one token: what it and its tokenizer prepare on the first call is done then."""
    ids, healed = model.tokenizer.heal("warm_up")
    model.generate(model.tokenizer.encode("# ") + ids, GenerationOptions(1, required_text=healed), stopping)


@dataclass(frozen=True)
class LoadedModel:
    """A model, and how fast it reads."""

    model: LanguageModel
    cost: ReadingCost


class Models:
    """Loaded models by what the settings ask for."""

    def __init__(self, stopping: Cancellation, make_room: Callable[[], None]) -> None:
        """Load nothing yet.

        Args:
            stopping: ends what a model that has just been loaded still does.
            make_room: called before a model is loaded.
        """
        self._stopping = stopping
        self._make_room = make_room
        self._loaded: dict[Key, LoadedModel] = {}
        self._failed: dict[Key, tuple[float, CodeFilterError]] = {}

    def get(self, settings: Settings) -> LoadedModel:
        """The model, loaded on the first call; a failure counts for some seconds, then it is tried again."""
        key = _key(settings)
        if key not in self._loaded:
            failed_at, failure = self._failed.get(key, (0.0, None))
            if failure is not None and time.monotonic() < failed_at + MODEL_RETRY_SECONDS:
                raise failure
            self._make_room()
            try:
                model = load_configured_model(settings)
                warm_up(model, self._stopping)
            except CodeFilterError as error:
                self._failed[key] = (time.monotonic(), error)
                raise
            self._loaded[key] = LoadedModel(model, ReadingCost(model))
        return self._loaded[key]

    def has(self, settings: Settings) -> bool:
        """Whether the model is loaded."""
        return _key(settings) in self._loaded

    def keep(self, wanted: Iterable[Settings]) -> None:
        """Let go of all models that none of these settings asks for, and of their memory."""
        keys = {_key(settings) for settings in wanted}
        surplus = self._loaded.keys() - keys
        for key in surplus:
            del self._loaded[key]
        if surplus:
            gc.collect()
            if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
                torch.cuda.empty_cache()


def _key(settings: Settings) -> Key:
    return settings.model, settings.engine, settings.device, settings.dtype

"""Loaded models: on demand, shared by folders, gone again when nobody asks.

In: settings. Out: a `LanguageModel` and what is known of its speed. For the model's thread only.
"""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import dataclass, field

from codefilter.budget import ReadingCost
from codefilter.config import Settings
from codefilter.errors import CodeFilterError
from codefilter.lm.base import Cancellation, GenerationOptions, LanguageModel
from codefilter.lm.loading import load_model

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
    cost: ReadingCost = field(default_factory=ReadingCost)


class Models:
    """Loaded models by what the settings ask for."""

    def __init__(self, stopping: Cancellation) -> None:
        """`stopping` ends what a model that has just been loaded still does."""
        self._stopping = stopping
        self._loaded: dict[Key, LoadedModel] = {}
        self._failed: dict[Key, tuple[float, CodeFilterError]] = {}

    def get(self, settings: Settings) -> LoadedModel:
        """The model, loaded on the first call; a failure counts for some seconds, then it is tried again."""
        key = (settings.model, settings.engine, settings.device, settings.dtype)
        if key not in self._loaded:
            failed_at, failure = self._failed.get(key, (0.0, None))
            if failure is not None and time.monotonic() < failed_at + MODEL_RETRY_SECONDS:
                raise failure
            try:
                model = load_model(
                    settings.model, engine=settings.engine, device=settings.device, dtype=settings.dtype
                )
                warm_up(model, self._stopping)
            except CodeFilterError as error:
                self._failed[key] = (time.monotonic(), error)
                raise
            self._loaded[key] = LoadedModel(model)
        return self._loaded[key]

    def unload(self) -> bool:
        """Let go of all models, and of their memory; False where there is none."""
        if not self._loaded:
            return False
        self._loaded.clear()
        gc.collect()
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

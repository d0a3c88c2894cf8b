"""Who labels: this process, or something that has many.

In: work items (a repository and one of its tasks). Out: for each its `ExampleRecord`, or why there is none,
in any order. An executor never writes: one process alone keeps the dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.controls import ControlRepository
from codefilter.dataset.records import ExampleRecord, to_record
from codefilter.dataset.sources import RepositorySource
from codefilter.errors import CancelledError, CodeFilterError
from codefilter.index import RepositoryIndex
from codefilter.labeling import Labeler, LabelOptions
from codefilter.lm.base import LanguageModel, ModelIdentity
from codefilter.types import CompletionTask


@dataclass(frozen=True)
class WorkItem:
    """One task to label."""

    source: RepositorySource
    task: CompletionTask


@dataclass(frozen=True)
class Outcome:
    """What became of an item."""

    item: WorkItem
    record: ExampleRecord | None
    problem: str = ""  # why there is no record


class Executor(Protocol):
    """Something that labels."""

    @property
    def identity(self) -> ModelIdentity:
        """The model's."""

    @property
    def description(self) -> str:
        """Engine, device, number type, for people."""

    @property
    def settings(self) -> Settings:
        """Of prompts and retrieval."""

    @property
    def options(self) -> LabelOptions:
        """Of labels."""

    def run(self, items: Iterator[WorkItem], pool: Mapping[str, ControlRepository]) -> Iterator[Outcome]:
        """Label items; the next one is taken when there is somebody to do it. `pool` is for controls."""


class LabelWorker:
    """Labels one item after the other; keeps the index of the last repository open."""

    def __init__(
        self,
        model: LanguageModel,
        settings: Settings,
        options: LabelOptions,
        pool: Mapping[str, ControlRepository],
    ) -> None:
        self._model = model
        self._settings = replace(settings, filter="all")
        self._options = options
        self._pool = pool
        self._labeler: tuple[str, Labeler] | None = None

    def label(self, item: WorkItem) -> Outcome:
        """One item's outcome; a task that cannot be labelled does not stop the others."""
        try:
            example = self._labeler_of(item.source).label(item.task)
        except CancelledError:
            raise
        except CodeFilterError as error:
            return Outcome(item, None, error.message)
        if not example.chunks:
            return Outcome(item, None, "nothing was retrieved")
        return Outcome(item, to_record(example))

    def _labeler_of(self, source: RepositorySource) -> Labeler:
        if self._labeler is None or self._labeler[0] != source.name:
            with RepositoryIndex.open(source.root, chunker=self._settings.chunker) as index:
                completer = Completer(index, self._model, self._settings)
            self._labeler = source.name, Labeler(completer, self._model, self._pool, self._options)
        return self._labeler[1]


class LocalExecutor:
    """This process, with a loaded model."""

    def __init__(self, model: LanguageModel, settings: Settings, options: LabelOptions) -> None:
        self.identity = model.identity
        self.description = model.description
        self.settings = settings
        self.options = options
        self._model = model

    def run(self, items: Iterator[WorkItem], pool: Mapping[str, ControlRepository]) -> Iterator[Outcome]:
        """See `Executor.run`; in the items' order."""
        worker = LabelWorker(self._model, self.settings, self.options, pool)
        return map(worker.label, items)

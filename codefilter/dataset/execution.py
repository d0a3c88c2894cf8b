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
from codefilter.controls import ControlRepository, FewControlsError
from codefilter.dataset.description import FEW_CONTROLS, FOR_NOW
from codefilter.dataset.records import ExampleRecord, to_record
from codefilter.dataset.sources import RepositorySource
from codefilter.dataset.states import ExampleStates, states_of
from codefilter.errors import DownloadError, IntegrityError, ModelError, PromptError, ServerError, SourceError
from codefilter.index import RepositoryIndex
from codefilter.labeling import Labeler, LabelOptions
from codefilter.lm.base import Continuation, HiddenStateModel, LanguageModel, ModelIdentity, no_hidden_states
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
    of_repository: bool = False  # the problem: nothing of it can be labelled now
    states: ExampleStates | None = None  # where they are kept


class Executor(Protocol):
    """Something that labels."""

    @property
    def identity(self) -> ModelIdentity:
        """The model's."""

    @property
    def description(self) -> str:
        """Engine, device, dtype, for people."""

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
        *,
        keep_states: bool = False,
    ) -> None:
        self._model = model
        self._settings = replace(settings, filter="all")
        self._options = options
        self._pool = pool
        self._keep_states = keep_states
        self._labeler: tuple[str, Labeler] | None = None

    def label(self, item: WorkItem) -> Outcome:
        """One item's outcome; a task that the model cannot read, or a lost repository, stops no other.

        Where the model fails otherwise (no memory left, an answer that makes no sense) the next run asks
        again. Whatever else goes wrong ends the run, as a server that is gone.
        """
        try:
            labeler = self._labeler_of(item.source)
        except (SourceError, DownloadError, IntegrityError, OSError) as error:
            return Outcome(item, None, str(error), of_repository=True)
        try:
            example = labeler.label(item.task)
        except ServerError:
            raise
        except PromptError as error:
            return Outcome(item, None, error.message)
        except ModelError as error:
            return Outcome(item, None, FOR_NOW + error.message)
        except FewControlsError:
            return Outcome(item, None, FEW_CONTROLS)
        if not example.chunks:
            return Outcome(item, None, "nothing was retrieved")
        return Outcome(item, to_record(example), states=states_of(example))

    def _labeler_of(self, source: RepositorySource) -> Labeler:
        if self._labeler is None or self._labeler[0] != source.name:
            with RepositoryIndex.open(source.root, chunker=self._settings.chunker) as index:
                completer = Completer(index, self._model, self._settings)
            labeler = Labeler(
                completer, self._model, self._pool, self._options, keep_states=self._keep_states
            )
            self._labeler = source.name, labeler
        return self._labeler[1]


def check_model(model: LanguageModel, *, keep_states: bool) -> None:
    """Say once, and not of every task, what a model cannot do.

    Raises:
        ModelError: it cannot score a given text (some servers), or does not give the hidden states that are
            to be kept.
    """
    model.log_likelihoods([1], [Continuation((1,), 1)])
    if keep_states and not isinstance(model, HiddenStateModel):
        raise no_hidden_states(model.identity.name, model.description)


class LocalExecutor:
    """This process, with a loaded model."""

    def __init__(
        self, model: LanguageModel, settings: Settings, options: LabelOptions, *, keep_states: bool = False
    ) -> None:
        """Make an executor; raises what `check_model` does."""
        check_model(model, keep_states=keep_states)
        self._keep_states = keep_states
        self.identity = model.identity
        self.description = model.description
        self.settings = settings
        self.options = options
        self._model = model

    def run(self, items: Iterator[WorkItem], pool: Mapping[str, ControlRepository]) -> Iterator[Outcome]:
        """See `Executor.run`; in the items' order."""
        worker = LabelWorker(self._model, self.settings, self.options, pool, keep_states=self._keep_states)
        return map(worker.label, items)

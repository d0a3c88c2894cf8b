"""Repositories → a labelled dataset, in slices, going on where the last one stopped.

In: sources, a model, settings. Out: a `DatasetFolder` that grows. Repositories take turns: in every round
each gives the tasks of `ROUND` (60 % line and API, 30 % chunk, 10 % function), so that a dataset is balanced
wherever it is stopped, and one that was built with a smaller number per repository grows to a larger one.
Notable: a repository that cannot be used is remembered with its reason and does not stop the build; neither
does a task (one whose prompt is too long for the model, or for which nothing is retrieved).
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from codefilter import __version__
from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.controls import ControlRepository
from codefilter.dataset.description import Description, Recipe, RunRecord, with_source
from codefilter.dataset.records import ExampleRecord, to_record
from codefilter.dataset.sources import RepositorySource
from codefilter.dataset.storage import DatasetFolder
from codefilter.errors import CancelledError, CodeFilterError, ModelError
from codefilter.index import RepositoryIndex
from codefilter.labeling import Labeler, LabelOptions
from codefilter.lm.base import LanguageModel
from codefilter.tasks import TaskRepository, sample_tasks
from codefilter.types import CompletionTask, TaskLevel

ROUND: Mapping[TaskLevel, int] = {
    TaskLevel.LINE: 3,
    TaskLevel.API: 3,
    TaskLevel.CHUNK: 3,
    TaskLevel.FUNCTION: 1,
}


@dataclass(frozen=True)
class BuildPlan:
    """How much of what to label."""

    per_repository: int = sum(ROUND.values())  # rounded up to whole rounds
    tasks_per_round: Mapping[TaskLevel, int] = field(default_factory=lambda: ROUND)
    max_examples: int | None = None  # in this run
    time_limit_seconds: float | None = None  # of this run; the task at work is finished

    @property
    def round_tasks(self) -> int:
        """Tasks that a repository gives in one round."""
        return sum(self.tasks_per_round.values())

    @property
    def rounds(self) -> int:
        """How often every repository takes its turn."""
        return -(-self.per_repository // self.round_tasks)

    def turn(self, repository: TaskRepository, number: int, seed: int) -> list[CompletionTask]:
        """The tasks that a repository gives in one round."""
        tasks: list[CompletionTask] = []
        for level, share in self.tasks_per_round.items():
            tasks += sample_tasks(repository, level, (number + 1) * share, seed)[number * share :]
        return tasks


@dataclass(frozen=True)
class Progress:
    """Where a build stands, after every task and every turn."""

    labelled: int  # in this run
    remaining: int  # at most: repositories may have fewer tasks than asked for
    seconds: float
    repository: str


OnProgress = Callable[[Progress], object]


def recipe_of(model: LanguageModel, settings: Settings, options: LabelOptions) -> Recipe:
    """The recipe that settings and options mean."""
    return Recipe(
        model=model.identity,
        options=options,
        layout=settings.layout,
        retriever=settings.retriever,
        chunker=settings.chunker,
        chunk_order=settings.chunk_order,
        num_candidates=settings.num_candidates,
        prefix_tokens=settings.prefix_tokens,
        suffix_tokens=settings.suffix_tokens,
        cross_file_tokens=settings.cross_file_tokens,
    )


def build_dataset(
    sources: Sequence[RepositorySource],
    dataset: DatasetFolder,
    model: LanguageModel,
    settings: Settings,
    options: LabelOptions,
    plan: BuildPlan,
    on_progress: OnProgress = lambda progress: None,
) -> Description:
    """Label what the plan asks for and the dataset does not hold yet.

    Raises:
        UsageError: the dataset was made with another recipe.
    """
    description = dataset.open(recipe_of(model, settings, options))
    started = time.monotonic()
    labelled = 0
    try:
        usable, description = _read_all(sources, description)
        dataset.describe(description)
        pool = {s.name: ControlRepository(s.name, s.version, r.sources) for s, r in usable}
        labeler_of = _LabelerFactory(model, settings, options, pool)
        remaining = plan.rounds * plan.round_tasks * len(usable)
        for number, (source, repository) in _turns(usable, plan.rounds):
            wanted = plan.turn(repository, number, options.seed)
            remaining -= plan.round_tasks - len(wanted)
            missing = [task for task in wanted if task.task_id not in dataset]
            remaining -= len(wanted) - len(missing)
            labeler = labeler_of(source) if missing else None
            for task in missing:
                seconds = time.monotonic() - started
                on_progress(Progress(labelled, remaining, seconds, source.name))
                over_time = plan.time_limit_seconds is not None and seconds > plan.time_limit_seconds
                if over_time or (plan.max_examples is not None and labelled >= plan.max_examples):
                    return description
                result = _label(labeler, task) if labeler is not None else ""
                remaining -= 1
                if isinstance(result, str):
                    skipped = (*description.skipped, (task.task_id, result))
                    description = replace(description, skipped=skipped)
                    dataset.describe(description)
                else:
                    dataset.append(result)
                    labelled += 1
            on_progress(Progress(labelled, remaining, time.monotonic() - started, source.name))
    finally:
        if labelled:
            run = RunRecord(
                __version__,
                model.description,
                f"{platform.machine()}, {platform.system()}",
                labelled,
                round(time.monotonic() - started, 1),
            )
            description = replace(description, runs=(*description.runs, run))
            dataset.describe(description)
        dataset.seal()
    return description


def _read_all(
    sources: Sequence[RepositorySource], description: Description
) -> tuple[list[tuple[RepositorySource, TaskRepository]], Description]:
    """Read every repository; those that cannot be used are only described."""
    usable = []
    for source in sources:
        try:
            repository = source.read()
            problem = repository.problem or ""
        except CancelledError:
            raise
        except (CodeFilterError, OSError) as error:
            problem = str(error)
        if not problem:
            usable.append((source, TaskRepository(source.name, source.version, repository.sources)))
        description = with_source(description, source.record(problem))
    return usable, description


def _turns(
    usable: Sequence[tuple[RepositorySource, TaskRepository]], rounds: int
) -> Iterator[tuple[int, tuple[RepositorySource, TaskRepository]]]:
    for number in range(rounds):
        for pair in usable:
            yield number, pair


class _LabelerFactory:
    """A labeler per repository; only the last one's index is kept open."""

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

    def __call__(self, source: RepositorySource) -> Labeler:
        with RepositoryIndex.open(source.root, chunker=self._settings.chunker) as index:
            completer = Completer(index, self._model, self._settings)
        return Labeler(completer, self._model, self._pool, self._options)


def _label(labeler: Labeler, task: CompletionTask) -> ExampleRecord | str:
    """The task's record, or why there is none."""
    try:
        example = labeler.label(task)
    except ModelError as error:
        return error.message
    return to_record(example) if example.chunks else "nothing was retrieved"

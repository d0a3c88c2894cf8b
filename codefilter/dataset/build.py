"""Repositories → a labelled dataset, in slices, going on where the last one stopped.

In: sources, a model, settings. Out: a `DatasetFolder` that grows. Repositories take turns: in every round
each gives the tasks of `ROUND` (60 % line and API, 30 % chunk, 10 % function), so that a dataset is balanced
wherever it is stopped, and one that was built with a smaller number per repository grows to a larger one.
Notable: a repository that cannot be used, or no longer, is remembered with its reason and does not stop the
build; neither does a task (one whose prompt is too long for the model, or for which nothing is retrieved; one
with too few controls is tried again, as other repositories may come). A repository of which something has
changed that labels name, as a place, a chunk or a control, cannot be used: those labels would name texts that
are no longer there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from codefilter import __version__
from codefilter.config import Settings
from codefilter.controls import ControlRepository, usable_repositories
from codefilter.dataset.description import (
    FEW_CONTROLS,
    Description,
    Recipe,
    RunRecord,
    SourceRecord,
    with_skipped,
    with_source,
)
from codefilter.dataset.execution import Executor, WorkItem
from codefilter.dataset.sources import RepositorySource
from codefilter.dataset.storage import DatasetFolder, LabelledFile, has_labels
from codefilter.errors import CancelledError, CodeFilterError, UsageError
from codefilter.filters.base import USUAL_CANDIDATES
from codefilter.labeling import LabelOptions
from codefilter.lm.base import ModelIdentity
from codefilter.machine import machine
from codefilter.prompts.layouts import measuring_layout
from codefilter.tasks import TaskRepository, sample_tasks
from codefilter.types import CompletionTask, SourceFile, TaskLevel

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
    max_examples: int | None = None  # tasks given out in this run
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


def recipe_of(model: ModelIdentity, settings: Settings, options: LabelOptions) -> Recipe:
    """The recipe that labels made with these have."""
    return Recipe(
        model=model,
        options=options,
        layout=measuring_layout(settings.layout),
        retriever=settings.retriever,
        chunker=settings.chunker,
        chunk_order=settings.chunk_order,
        num_candidates=settings.num_candidates or USUAL_CANDIDATES,
        prefix_tokens=settings.prefix_tokens,
        suffix_tokens=settings.suffix_tokens,
        cross_file_tokens=settings.cross_file_tokens,
    )


def build_dataset(
    sources: Sequence[RepositorySource],
    dataset: DatasetFolder,
    executor: Executor,
    plan: BuildPlan,
    on_progress: OnProgress = lambda progress: None,
) -> Description:
    """Label what the plan asks for and the dataset does not hold yet.

    Raises:
        UsageError: the dataset was made with another recipe, or nothing can be compared with other
            repositories.
    """
    recipe = recipe_of(executor.identity, executor.settings, executor.options)
    build = _Build(dataset, dataset.open(recipe), executor, plan, on_progress)
    try:
        build.run(sources)
    finally:
        build.finish()
    return build.description


class _Build:
    """One slice of the work."""

    def __init__(
        self,
        dataset: DatasetFolder,
        description: Description,
        executor: Executor,
        plan: BuildPlan,
        on_progress: OnProgress,
    ) -> None:
        self.description = description
        self._dataset = dataset
        self._executor = executor
        self._plan = plan
        self._on_progress = on_progress
        self._started = time.monotonic()
        self._earlier_runs = description.runs
        self._given = 0
        self._failed: set[str] = set()  # repositories that could be read, but no more
        self._without_controls = 0
        self._done = 0
        self._labelled = 0
        self._remaining = 0

    def run(self, sources: Sequence[RepositorySource]) -> None:
        """Label until there is nothing left, or the limits of the plan are reached."""
        usable = self._read(sources)
        pool = {s.name: ControlRepository(s.name, s.version, files) for s, files in usable}
        self._remaining = self._plan.rounds * self._plan.round_tasks * len(usable)
        for outcome in self._executor.run(self._items(usable, pool), pool):
            self._remaining -= 1
            self._done += 1
            if outcome.record is not None:
                self._dataset.append(outcome.record, outcome.states)
                self._labelled += 1
                self.description = with_skipped(self.description, outcome.record.example_id)
                self._note_run()
            elif outcome.of_repository:
                failed = outcome.item.source
                self._failed.add(failed.name)
                self._describe(with_source(self.description, failed.record(outcome.problem)))
                self._given -= 1
            else:
                self._describe(with_skipped(self.description, outcome.item.task.task_id, outcome.problem))
                if outcome.problem == FEW_CONTROLS:
                    self._given -= 1  # it comes again with every run, and must not use up each one's limit
            self._report(outcome.item.source)
        nothing_fits = len(usable) < 2 or not has_labels(self._dataset.folder)
        if self._without_controls and not self._done and nothing_fits:
            problems = [f"{s.name}: {s.problem}." for s in self.description.sources if s.problem]
            raise UsageError(
                "labels need controls: chunks of other repositories, in the same language",
                hint=" ".join(["Build from two repositories or more.", *problems]),
            )

    def finish(self) -> None:
        """Seal what was done."""
        self._dataset.seal()

    def _note_run(self) -> None:
        """Write down what this run has done so far: a kill loses at most its last example's seconds."""
        run = RunRecord(
            __version__,
            self._executor.description,
            machine(),
            self._labelled,
            round(time.monotonic() - self._started, 1),
        )
        self._describe(replace(self.description, runs=(*self._earlier_runs, run)))

    def _describe(self, description: Description) -> None:
        self.description = description
        self._dataset.describe(description)

    def _report(self, source: RepositorySource) -> None:
        seconds, most = time.monotonic() - self._started, self._plan.max_examples
        remaining = self._remaining if most is None else min(self._remaining, most - self._given)
        self._on_progress(Progress(self._labelled, remaining, seconds, source.name))

    def _read(
        self, sources: Sequence[RepositorySource]
    ) -> list[tuple[RepositorySource, tuple[SourceFile, ...]]]:
        """The files of every repository that can be used; the others are only described."""
        usable = []
        description = self.description
        labelled = self._dataset.labelled_files()
        known = {source.name: source for source in description.sources}
        for source in sources:
            described = source.record()
            try:
                repository = source.read()
                problem = repository.problem or ""
                if source.name in labelled and source.name in known:
                    earlier = known[source.name]
                    if change := _change(earlier, described, labelled[source.name], repository.sources):
                        described, problem = earlier, f"{change}: label it into another folder"
            except CancelledError:
                raise
            except (CodeFilterError, OSError) as error:
                problem = str(error)
            if not problem:
                usable.append((source, repository.sources))
            description = with_source(description, replace(described, problem=problem))
        self._describe(description)
        return usable

    def _items(
        self,
        usable: Sequence[tuple[RepositorySource, tuple[SourceFile, ...]]],
        pool: Mapping[str, ControlRepository],
    ) -> Iterator[WorkItem]:
        """What is missing, round by round; without controls there is no label."""
        for number in range(self._plan.rounds):
            for source, files in usable:
                repository = TaskRepository(source.name, source.version, files)  # forgotten after its turn
                wanted = self._plan.turn(repository, number, self._executor.options.seed)
                missing = [task for task in wanted if task.task_id not in self._dataset]
                self._remaining -= self._plan.round_tasks - len(missing)
                self._report(source)
                for task in missing:
                    if self._is_over():
                        return
                    has_controls = bool(usable_repositories(pool, task))
                    self._without_controls += not has_controls
                    if source.name in self._failed or not has_controls:
                        self._remaining -= 1
                        continue
                    self._given += 1
                    yield WorkItem(source, task)

    def _is_over(self) -> bool:
        limit, most = self._plan.time_limit_seconds, self._plan.max_examples
        over_time = limit is not None and time.monotonic() - self._started > limit
        return over_time or (most is not None and self._given >= most)


def _change(
    earlier: SourceRecord,
    now: SourceRecord,
    labelled: Mapping[str, LabelledFile],
    sources: Sequence[SourceFile],
) -> str:
    """What has changed since a repository was labelled, by path; empty where nothing has.

    A checkout may move on to another commit, as long as the files that labels name stay as they are.
    """
    if earlier.sha256 != now.sha256:
        return f"it was labelled as {earlier.version or 'a plain folder'}, and is {now.version or 'one'} now"
    now_there = {source.path: source for source in sources}
    for path, file in sorted(labelled.items()):
        if path not in now_there or not file.is_in(now_there[path]):
            return f"{path} has changed since it was labelled"
    return ""

"""The loop: every arm on every task, resumable, task by task.

In: groups of tasks, an executor with arms, a folder. Out: an `Outcome`, and the folder's files. Notable: the
repositories take turns (`selection.in_rounds`), so that a run that is stopped is about all of them. What came
of an arm is on the disk before anybody is told. An error of one task is kept, and the run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codefilter.evaluation.arms import Arm
from codefilter.evaluation.execution import Executor, WorkItem
from codefilter.evaluation.results import TaskError, TaskResult
from codefilter.evaluation.selection import TaskGroup, in_rounds
from codefilter.evaluation.storage import RunWriter


@dataclass(frozen=True)
class Outcome:
    """What a run did, in task order."""

    results: tuple[TaskResult, ...]
    errors: tuple[TaskError, ...]
    num_left: int = 0  # task × arm that the deadline did not allow


def evaluate(
    groups: Sequence[TaskGroup],
    executor: Executor,
    folder: Path,
    progress: Callable[[TaskResult | TaskError], object] = lambda result: None,
    *,
    deadline: float | None = None,
) -> Outcome:
    """Run every arm on every task that has no result in the folder yet.

    Raises:
        UsageError: an arm that cannot be run with this model, or a folder with something else in it.

    Args:
        groups: the tasks.
        executor: completes them with its arms.
        folder: a run's folder; that it is the same run, `records.begin_run` sees to. One writer at a time
            (the caller holds a lock).
        progress: told of every result and error.
        deadline: `time.monotonic` after which no further task is begun.
    """
    errors: list[TaskError] = []
    with RunWriter(folder) as writer:
        for finding in executor.run(_items(groups, executor.arms, writer, deadline)):
            writer.add(finding)
            if isinstance(finding, TaskError):
                errors.append(finding)
            if isinstance(finding, TaskError | TaskResult):
                progress(finding)
        done = writer.done
    wanted = [(task.task_id, arm.name) for group in groups for task in group.tasks for arm in executor.arms]
    results = tuple(done[key] for key in wanted if key in done)
    place = {key: number for number, key in enumerate(wanted)}
    errors.sort(key=lambda error: place[error.task_id, error.arm])
    return Outcome(results, tuple(errors), len(wanted) - len(results) - len(errors))


def _items(
    groups: Sequence[TaskGroup], arms: Sequence[Arm], writer: RunWriter, deadline: float | None
) -> Iterator[WorkItem]:
    """What is missing, as long as there is time."""
    for group, task in in_rounds(groups):
        missing = tuple(arm.name for arm in arms if (task.task_id, arm.name) not in writer.done)
        if not missing:
            continue
        if deadline is not None and time.monotonic() > deadline:
            return
        yield WorkItem(replace(group, tasks=()), task, missing, tuple(writer.results_of(task.task_id)))

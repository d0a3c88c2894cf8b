"""How tasks are given out and what came of them is kept: whoever does them, and whatever goes wrong."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codefilter.errors import CancelledError, CodeFilterError, UsageError
from codefilter.evaluation import LocalExecutor, TaskError, TaskGroup, TaskResult, evaluate
from codefilter.evaluation.execution import TaskWorker, WorkItem
from codefilter.evaluation.results import Finding
from codefilter.evaluation.selection import ROUND_TASKS
from codefilter.evaluation.storage import (
    RESULTS_FILE,
    read_chunks,
    read_contexts,
    read_errors,
    read_in_order,
    read_results,
)
from codefilter.index import RepositoryIndex
from codefilter.lm.base import Cancellation, Continuation
from codefilter.lm.fake import FakeLanguageModel
from codefilter.metrics import METRIC_FAMILY
from codefilter.types import LogLikelihood, TaskLevel
from tests.test_evaluation import (
    HELPFUL,
    MODEL,
    POISON,
    Counting,
    Failing,
    app_task,
    arms,
    group_with,
    without_times,
)

NAMES = ("none", "all", "top-k:1", "oracle:0.1")


def several(root: Path) -> list[TaskGroup]:
    """Two repositories with two tasks each, and one that cannot be indexed."""
    (root / "empty").mkdir(parents=True)
    groups = [
        group_with(root / "helpful", lib=HELPFUL),
        group_with(root / "poisoned", lib=POISON, zoo=HELPFUL),
        TaskGroup("empty", root / "empty", ()),
    ]
    return [
        replace(group, tasks=tuple(replace(app_task(), task_id=f"{i}/{n}") for n in range(2)))
        for i, group in enumerate(groups)
    ]


class Elsewhere(LocalExecutor):
    """Like a cluster: takes all items, does the last one first, and what goes to and fro is copied."""

    def run(self, items: Iterator[WorkItem]) -> Iterator[Finding]:
        for item in reversed(list(items)):
            worker = TaskWorker(self._model, self.arms, write=True, family=METRIC_FAMILY)
            yield from copied(list(worker.run(copied(item))))


def copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def test_whoever_completes_in_whatever_order_the_results_are_the_same(tmp_path: Path) -> None:
    groups = several(tmp_path)
    here = evaluate(groups, LocalExecutor(MODEL, arms(*NAMES)), tmp_path / "here")
    there = evaluate(groups, Elsewhere(MODEL, arms(*NAMES)), tmp_path / "there")
    assert len(here.results) == 16
    assert [without_times(r) for r in there.results] == [without_times(r) for r in here.results]
    assert there.errors == here.errors
    assert {error.task_id for error in here.errors} == {"2/0", "2/1"}
    ids = [task.task_id for group in groups for task in group.tasks]
    assert read_in_order(tmp_path / "there", ids, NAMES) == list(there.results)
    for read in (read_contexts, read_chunks, read_errors):
        assert set(read(tmp_path / "there")) == set(read(tmp_path / "here"))


def test_an_attempt_elsewhere_goes_on_with_what_was_done_here(tmp_path: Path) -> None:
    groups = several(tmp_path)[:2]
    evaluate(groups, LocalExecutor(MODEL, arms("all")), tmp_path / "out")
    model = Counting()
    outcome = evaluate(groups, Elsewhere(model, arms("all", "top-k:5")), tmp_path / "out")
    assert len(outcome.results) == 8
    assert (model.generated, model.scored) == (0, 0)


def test_a_result_is_on_the_disk_before_it_is_told_and_before_the_next_arm_is_run(tmp_path: Path) -> None:
    model, out, told = Counting(), tmp_path / "out", []

    def look(result: TaskResult | TaskError) -> None:
        told.append(result)
        assert list(read_results(out)) == told
        assert len(list(read_contexts(out))) == 1
        assert model.generated == len(told)
        assert (out / RESULTS_FILE).read_text().count("\n") == len(told)

    group = group_with(tmp_path / "r", lib=HELPFUL, zoo=POISON)
    evaluate([group], LocalExecutor(model, arms("none", "all", "top-k:1")), out, look)
    assert [result.arm for result in told] == ["none", "all", "top-k:1"]


def test_repositories_take_turns_and_are_opened_once_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, empty = several(tmp_path)
    levels = [TaskLevel.LINE] * (ROUND_TASKS + 1) + [TaskLevel.API]
    tasks = [replace(app_task(), task_id=f"0/{n}", level=level) for n, level in enumerate(levels)]
    groups, opened, open_index = [replace(first, tasks=tuple(tasks)), second, empty], [], RepositoryIndex.open

    def counted(root: Path, **options: Any) -> RepositoryIndex:
        opened.append(root.name)
        return open_index(root, **options)

    monkeypatch.setattr(RepositoryIndex, "open", counted)
    evaluate(groups, LocalExecutor(MODEL, arms(*NAMES)), tmp_path / "out")
    assert opened == ["helpful", "poisoned", "empty", "helpful"]
    done = list(dict.fromkeys(result.task_id for result in read_results(tmp_path / "out")))
    assert done == ["0/0", "0/1", "0/2", "0/3", "0/4", "0/6", "1/0", "1/1", "0/5"]
    evaluate(groups[:2], LocalExecutor(MODEL, arms(*NAMES)), tmp_path / "out")
    assert len(opened) == 4  # nothing is missing there


def test_a_folder_of_one_repository_after_the_other_is_gone_on_with(tmp_path: Path) -> None:
    groups = [
        replace(group, tasks=tuple(replace(app_task(), task_id=f"{i}/{n}") for n in range(ROUND_TASKS + 2)))
        for i, group in enumerate(several(tmp_path)[:2])
    ]
    before = [(group, task) for group in groups for task in group.tasks][: ROUND_TASKS + 4]
    executor = LocalExecutor(MODEL, arms("none", "all"))
    for group, task in before:
        evaluate([replace(group, tasks=(task,))], executor, tmp_path / "out")
    told: list[TaskResult | TaskError] = []
    outcome = evaluate(groups, executor, tmp_path / "out", told.append)
    assert len(told) == 10
    assert [r.task_id for r in outcome.results[::2]] == [task.task_id for g in groups for task in g.tasks]


class Stopping(FakeLanguageModel):
    """Raises an error at the second prompt."""

    def __init__(self, error: CodeFilterError) -> None:
        super().__init__()
        self._error = error
        self._scored = 0

    def log_likelihoods(
        self,
        context: Sequence[int],
        continuations: Sequence[Continuation],
        cancellation: Cancellation | None = None,
    ) -> list[LogLikelihood]:
        self._scored += 1
        if self._scored == 2:
            raise self._error
        return super().log_likelihoods(context, continuations, cancellation)


@pytest.mark.parametrize("error", [UsageError("wrong for every task"), CancelledError("Ctrl-C")])
def test_what_is_no_fault_of_the_task_stops_the_run_and_what_was_done_stays(
    error: CodeFilterError, tmp_path: Path
) -> None:
    group = group_with(tmp_path / "r", lib=HELPFUL)
    with pytest.raises(type(error)):
        evaluate([group], LocalExecutor(Stopping(error), arms("none", "all", "top-k:1")), tmp_path / "out")
    assert [result.arm for result in read_results(tmp_path / "out")] == ["none"]
    assert list(read_errors(tmp_path / "out")) == []


def test_an_arm_that_fails_leaves_what_it_was_to_read(tmp_path: Path) -> None:
    group = group_with(tmp_path / "r", lib=POISON)
    outcome = evaluate([group], LocalExecutor(Failing(), arms("all")), tmp_path / "out")
    assert [error.error for error in outcome.errors] == ["RuntimeError"]
    assert [chunk.path for chunk in read_chunks(tmp_path / "out")] == ["lib.py"]
    assert len(list(read_contexts(tmp_path / "out"))) == 1


def test_a_task_that_was_begun_before_the_deadline_is_finished(tmp_path: Path) -> None:
    groups, deadline = several(tmp_path), time.monotonic() + 2

    def wait(result: TaskResult | TaskError) -> None:
        time.sleep(max(0.0, deadline - time.monotonic() + 0.01))

    executor = LocalExecutor(MODEL, arms("none", "all"))
    outcome = evaluate(groups, executor, tmp_path / "out", wait, deadline=deadline)
    assert [(r.task_id, r.arm) for r in outcome.results] == [("0/0", "none"), ("0/0", "all")]
    assert outcome.num_left == 10


def test_a_task_that_comes_twice_is_done_once(tmp_path: Path) -> None:
    group = group_with(tmp_path / "r", lib=HELPFUL)
    twice = replace(group, tasks=group.tasks * 2)
    evaluate([twice], Elsewhere(MODEL, arms("none", "all")), tmp_path / "out")
    assert len(list(read_results(tmp_path / "out"))) == 2

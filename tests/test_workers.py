"""Workers of the index that die: at the start, in the middle of an answer, of a task, again and again."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from codefilter.index import RepositoryIndex, build
from codefilter.index.workers import Death, Workers, WorkersEndedError
from codefilter.source import SkipReason

LARGE = 50_000_000  # bytes, more than a pipe holds


def double(task: int) -> int:
    return 2 * task


def fail_at_three(task: int) -> int:
    if task == 3:
        raise ValueError("three")
    return task


def die_at_three(task: int) -> int:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def die_in_the_middle_of_an_answer(task: int) -> bytes:
    if task == 1:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return bytes(LARGE)
    return b"whole"


def die_always(task: int) -> int:
    os._exit(7)


class Unloadable:
    """What a worker cannot unpickle, so that it ends before it is up."""

    def __call__(self, task: int) -> int:
        return task

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return sys.exit, (9,)


def done(pool: Workers[int, int]) -> tuple[list[int], list[Death[int]]]:
    results = list(pool.results())
    deaths = [result for result in results if isinstance(result, Death)]
    return sorted(result for result in results if not isinstance(result, Death)), deaths


def test_all_tasks_are_done_and_errors_come_through() -> None:
    pool = Workers(double, 2)
    pool.add(range(20))
    assert done(pool) == ([2 * task for task in range(20)], [])
    assert pool._workers == []
    failing = Workers(fail_at_three, 2)
    failing.add(range(10))
    with pytest.raises(ValueError, match="three"):
        done(failing)
    assert failing._workers == []


def test_who_dies_of_a_task_is_replaced_and_the_task_is_named() -> None:
    pool = Workers(die_at_three, 1)
    pool.add(range(10))
    results, deaths = done(pool)
    assert results == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert deaths == [Death(3, "a worker was killed by signal 9")]


def test_who_is_killed_in_the_middle_of_an_answer_is_not_waited_for() -> None:
    pool = Workers(die_in_the_middle_of_an_answer, 1)
    pool.add([0, 1, 2])
    results = pool.results()
    assert next(results) == b"whole"
    time.sleep(1.5)  # the next answer is half on its way
    death, last = results
    assert isinstance(death, Death)
    assert (death.task, last) == (1, b"whole")


def test_where_all_die_there_is_an_error() -> None:
    pool = Workers(die_always, 2)
    pool.add(range(100))
    with pytest.raises(WorkersEndedError, match="ended with code 7"):
        done(pool)


def test_where_none_gets_up_there_is_an_error_and_no_task_is_blamed() -> None:
    pool: Workers[int, int] = Workers(Unloadable(), 2)
    pool.add(range(3))
    with pytest.raises(WorkersEndedError, match="ended with code 9"):
        done(pool)


def die_of_one_file(spec: object, batch: list[build.Wanted]) -> list[build.ReadResult]:
    if any(wanted.path == "p3/m3.py" for wanted in batch):
        os.kill(os.getpid(), signal.SIGKILL)
    return [build.read_file(spec, wanted) for wanted in batch]  # type: ignore[arg-type]


def test_a_file_that_ends_its_reader_is_left_out_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_MIN_FILES_FOR_WORKERS", 10)
    monkeypatch.setattr(build, "_read_batch", die_of_one_file)
    for number in range(100):
        path = tmp_path / f"p{number % 7}" / f"m{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"def f{number}(a, b):\n    return a + {number}\n")
    with RepositoryIndex.open(tmp_path, workers=2) as index:
        assert index.report.num_files == 99
        assert "p3/m3.py" not in index.paths
        assert index.report.skipped_examples[SkipReason.CRASHED] == ("p3/m3.py",)
        [notice] = index.report.notices
        assert "signal 9" in notice

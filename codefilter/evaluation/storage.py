"""A run's folder: lines of JSON that are appended and flushed, so that a kill loses at most the last one.

A last line that a kill cut off is not read; who appends to its file next takes it off.

``results.jsonl``, ``errors.jsonl``, ``tasks.jsonl`` and ``chunks.jsonl`` hold the values of `results`;
``run.json`` what the run is (`records`), ``record.json`` its figures, ``predictions/`` the predictions in the
released form, ``mismatches.jsonl`` the records of a benchmark that gave the last attempt no task. All but
``record.json`` may hold other people's code. In: values. Out: values.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from codefilter.benchmarks.base import Mismatch
from codefilter.errors import UsageError
from codefilter.evaluation.results import ChunkText, Finding, TaskContext, TaskError, TaskResult
from codefilter.paths import cut_torn_line, whole_lines, write_atomically

RESULTS_FILE = "results.jsonl"
ERRORS_FILE = "errors.jsonl"
TASKS_FILE = "tasks.jsonl"
CHUNKS_FILE = "chunks.jsonl"
MISMATCHES_FILE = "mismatches.jsonl"

T = TypeVar("T")


class RunWriter:
    """Appends to a run's folder; open it with ``with``."""

    def __init__(self, folder: Path) -> None:
        """Read what is there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.done: dict[tuple[str, str], TaskResult] = {}  # by task and arm
        self._by_task: dict[str, list[TaskResult]] = defaultdict(list)
        for result in read_results(folder):
            self._remember(result)
        self._tasks = {context.task_id for context in read_contexts(folder)}
        self._chunks = {chunk.chunk_id for chunk in read_chunks(folder)}
        self._files: dict[str, IO[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def add(self, finding: Finding) -> None:
        """Keep something, contexts and chunks once; what a result refers to must be there before."""
        match finding:
            case TaskResult():
                self._append(RESULTS_FILE, asdict(finding))
                self._remember(finding)
            case TaskError():
                self._append(ERRORS_FILE, asdict(finding))
            case TaskContext() if finding.task_id not in self._tasks:
                self._append(TASKS_FILE, asdict(finding))
                self._tasks.add(finding.task_id)
            case ChunkText() if finding.chunk_id not in self._chunks:
                self._append(CHUNKS_FILE, asdict(finding))
                self._chunks.add(finding.chunk_id)

    def results_of(self, task_id: str) -> list[TaskResult]:
        """What is there of a task, earliest first."""
        return list(self._by_task[task_id])

    def _remember(self, result: TaskResult) -> None:
        self.done[result.task_id, result.arm] = result
        self._by_task[result.task_id].append(result)

    def _append(self, name: str, values: Mapping[str, Any]) -> None:
        file = self._files.get(name)
        if file is None:
            cut_torn_line(self._folder / name)
            file = self._files[name] = (self._folder / name).open("a", encoding="utf-8")
        file.write(json.dumps(values) + "\n")  # ASCII: texts may hold lone surrogates
        file.flush()


def read_results(folder: Path) -> Iterator[TaskResult]:
    """Results of a run.

    Raises:
        UsageError: a line that is no result.
    """
    return _read(folder / RESULTS_FILE, TaskResult.from_json)


def read_in_order(folder: Path, task_ids: Sequence[str], arms: Sequence[str]) -> list[TaskResult]:
    """Results of a run, task by task, those of tasks that are not named last; `UsageError` as above."""
    place = {name: number for number, name in enumerate([*task_ids, *arms])}
    found = {(result.task_id, result.arm): result for result in read_results(folder)}
    last = len(place)
    return sorted(found.values(), key=lambda r: (place.get(r.task_id, last), place.get(r.arm, last)))


def read_errors(folder: Path) -> Iterator[TaskError]:
    """The last error of every task and arm that has no result yet."""
    failed = {(e.task_id, e.arm): e for e in _read(folder / ERRORS_FILE, lambda values: TaskError(**values))}
    if failed:
        done = {(result.task_id, result.arm) for result in read_results(folder)}
        yield from (error for place, error in failed.items() if place not in done)


def read_contexts(folder: Path) -> Iterator[TaskContext]:
    """Surroundings of a run's tasks."""
    return _read(folder / TASKS_FILE, lambda values: TaskContext(**values))


def read_chunks(folder: Path) -> Iterator[ChunkText]:
    """Texts of a run's candidates."""
    return _read(folder / CHUNKS_FILE, lambda values: ChunkText(**values))


def write_mismatches(mismatches: Sequence[Mismatch], folder: Path) -> None:
    """Write the records that give no task, instead of an earlier attempt's; no file where there are none."""
    path = folder / MISMATCHES_FILE
    if mismatches:
        write_atomically(path, "".join(json.dumps(asdict(mismatch)) + "\n" for mismatch in mismatches))
    else:
        path.unlink(missing_ok=True)


def _read(path: Path, parse: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    for number, line in enumerate(whole_lines(path), start=1):
        try:
            yield parse(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"line {number} of {path} is not from a run: {error}", hint="Give another --out folder."
            ) from error

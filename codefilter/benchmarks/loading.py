"""Task files and repositories → a `Benchmark`: what all released benchmarks have in common.

In: a folder. Out: verified tasks, and a `Mismatch` for every record that is none. A benchmark itself says
which files hold its records (`task_files`), how a line becomes a `Record` (`parser`), and where in its source
file the record stands (`place`).
"""

from __future__ import annotations

import abc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from codefilter.benchmarks.answers import find_answers
from codefilter.benchmarks.base import (
    Availability,
    Benchmark,
    BenchmarkRepository,
    Mismatch,
    MismatchReason,
    TaskFile,
)
from codefilter.benchmarks.layout import data_folder, find_repository, prepared_folder
from codefilter.benchmarks.records import RawLine, Record, read_records
from codefilter.errors import SourceError
from codefilter.packages import Progress
from codefilter.paths import sha256_of_file
from codefilter.source import Skipped, read_source
from codefilter.types import CompletionTask, SourceFile, TaskLevel


class MisplacedError(Exception):
    """A record does not fit its source file."""

    def __init__(self, reason: MismatchReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class ReleasedBenchmark(abc.ABC):
    """One benchmark: where its JSONL files and repositories are, and how its records become tasks."""

    name: str  # in the table of `codefilter.benchmarks`
    contents: str  # what the released benchmark has, in a few words
    levels: tuple[TaskLevel, ...]  # of its tasks
    origin: str  # where the released files are, one sentence
    caveats: tuple[str, ...] = ()  # what must be said beside its figures

    @abc.abstractmethod
    def task_files(self, folder: Path) -> list[tuple[Path, TaskLevel]]:
        """The files to read, one per language and level: released variants hold the same tasks."""

    @abc.abstractmethod
    def parser(self, level: TaskLevel) -> Callable[[RawLine], Record]:
        """What turns the lines of one file into records; `WrongFormError` where a line is none."""

    @abc.abstractmethod
    def place(self, record: Record, source: SourceFile) -> CompletionTask:
        """The task, once the record fits its source file; `MisplacedError` where it does not."""

    @abc.abstractmethod
    def prepare(self, progress: Progress) -> tuple[str, ...]:
        """Fetch what can be fetched; one sentence about each thing that was done."""

    def place_alone(self, record: Record) -> CompletionTask:
        """The task with no more context than its record has, where no repository of the benchmark is here.

        `MisplacedError` where the record contradicts itself, or where the release has repositories.
        """
        raise _no_repository(record)

    def known_sha256s(self) -> frozenset[str]:
        """Hashes of the task files that are known; empty where none is."""
        return frozenset()

    def repository_names(self) -> tuple[str, ...]:
        """Repositories that are known without reading records."""
        return ()

    def fetchable_names(self) -> tuple[str, ...]:
        """Those of them that `prepare` fetches."""
        return ()

    def load(self, data: Path | None = None) -> Benchmark:
        """Read and verify everything.

        Args:
            data: folder with the released files; by default `layout.data_folder`.

        Raises:
            UsageError: There is no such folder.
            SourceError: The folder has no task files of this benchmark.
        """
        folder = self._folder_with_tasks(data)
        files, records = self._read(folder)
        names = sorted({record.repository for record in records if isinstance(record, Record)})
        roots = {name: self.find_root(name, folder) for name in names}
        alone = not any(roots.values())
        placed = [
            self._task(r, roots[r.repository], alone=alone) if isinstance(r, Record) else r for r in records
        ]
        tasks = tuple(task for task in placed if isinstance(task, CompletionTask))
        return Benchmark(
            name=self.name,
            tasks=tasks,
            repositories=tuple(_repositories(roots, tasks)),
            mismatches=tuple(task for task in placed if isinstance(task, Mismatch)),
            files=tuple(files),
            notices=tuple(self._notices(files, alone=alone and bool(tasks))),
        )

    def availability(self, data: Path | None = None) -> Availability:
        """What is here and what is missing; reads no records."""
        folder = self.data_folder(data)
        files = tuple(path for path, _ in self.task_files(folder)) if folder else ()
        names = self.repository_names()
        here = tuple(name for name in names if self.find_root(name, folder))
        fetchable = set(self.fetchable_names()) - set(here)
        elsewhere = len(names) - len(here) - len(fetchable)
        missing = []
        if not files:
            missing.append(f"The task files are missing. {self.origin}")
        if fetchable:
            command = f"codefilter benchmark prepare {self.name}"
            missing.append(f"{len(fetchable)} repositories are missing that `{command}` fetches.")
        if elsewhere:
            missing.append(f"{elsewhere} repositories are missing. {self.origin}")
        return Availability(files, here, tuple(missing))

    def data_folder(self, data: Path | None) -> Path | None:
        """The folder with the task files; None where there is none."""
        return data_folder(self.name, data)

    def find_root(self, name: str, folder: Path | None) -> Path | None:
        """A repository's folder: in the given folder first, then in what `prepare` made."""
        places = [place for place in (folder, prepared_folder(self.name)) if place is not None]
        return find_repository(name, places)

    def _notices(self, files: Sequence[TaskFile], *, alone: bool) -> Iterator[str]:
        if alone:
            yield "No repositories are here: the records were only checked against themselves."
        known = self.known_sha256s()
        for file in files:
            if known and file.sha256 not in known:
                yield f"{file.path.name} is not the file known here: the sources alone vouch for it."

    def _folder_with_tasks(self, data: Path | None) -> Path:
        folder = self.data_folder(data)
        if folder is None or not self.task_files(folder):
            where = f"in {folder}" if folder else "on this machine"
            raise SourceError(
                f"no task files of {self.name} {where}",
                hint=f"{self.origin} Give their folder with --data.",
            )
        return folder

    def _read(self, folder: Path) -> tuple[list[TaskFile], list[Record | Mismatch]]:
        files: list[TaskFile] = []
        records: list[Record | Mismatch] = []
        for path, level in self.task_files(folder):
            found = list(read_records(path, self.parser(level)))
            files.append(TaskFile(path, level, sha256_of_file(path), len(found)))
            records += [replace(r, level=level) if isinstance(r, Mismatch) else r for r in found]
        return files, records

    def _task(self, record: Record, root: Path | None, *, alone: bool) -> CompletionTask | Mismatch:
        try:
            task = self.place_alone(record) if alone else self.place(record, _read_file(record, root))
        except MisplacedError as error:
            return record.mismatch(error.reason, error.detail)
        return replace(task, task_id=f"{record.task_id}/{record.level}")


def _read_file(record: Record, root: Path | None) -> SourceFile:
    if root is None:
        raise _no_repository(record)
    source = read_source(root, record.path)
    if isinstance(source, Skipped):
        raise MisplacedError(MismatchReason.NO_FILE, f"{record.path}: {source.reason.value}")
    return source


def _no_repository(record: Record) -> MisplacedError:
    return MisplacedError(MismatchReason.NO_REPOSITORY, f"no folder {record.repository}")


def _repositories(
    roots: dict[str, Path | None], tasks: Sequence[CompletionTask]
) -> Iterator[BenchmarkRepository]:
    """The repositories that have tasks, with the files that hold their answers."""
    by_repository: dict[str, list[CompletionTask]] = defaultdict(list)
    for task in tasks:
        by_repository[task.repository].append(task)
    for name, own in by_repository.items():
        root = roots[name]
        if root is None:
            yield BenchmarkRepository(name, None)
            continue
        found = find_answers(root, own)
        yield BenchmarkRepository(
            name, root, found.excluded_paths, found.repeated_task_ids, found.content_sha256
        )

"""What a benchmark is here: verified tasks, the repositories they are in, and everything that did not verify.

In: nothing but values of the stage before. Out: `Benchmark`, which evaluation runs on. Notable: a record that
does not verify is never run and never dropped in silence: it becomes a `Mismatch` with its place and reason.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from codefilter.types import CompletionTask, TaskLevel, content_hash

_NO_FILES = content_hash("")


class MismatchReason(StrEnum):
    """Why a record gives no task."""

    NOT_JSON = "not a line of JSON"
    WRONG_FORM = "not a record of this benchmark"
    DUPLICATE = "the task was there before"
    NO_REPOSITORY = "its repository is not here"
    NO_FILE = "its file cannot be read"
    TARGET_ELSEWHERE = "the target does not stand where it should"
    CONTEXT_DIFFERS = "the text around the target is not the file's"


@dataclass(frozen=True)
class Mismatch:
    """One record that gives no task."""

    file: str  # name of the task file
    line: int  # 0-based
    task_id: str  # empty where the record has none
    reason: MismatchReason
    detail: str  # what was found, for people
    level: TaskLevel | None = None  # of the file's tasks; None of a file of predictions

    def __str__(self) -> str:
        task = f" {self.task_id}" if self.task_id else ""
        return f"{self.file}:{self.line + 1}{task}: {self.reason.value}: {self.detail}"


@dataclass(frozen=True)
class BenchmarkRepository:
    """One repository that tasks are in."""

    name: str
    root: Path | None  # None: only the records are here (CrossCodeEval was released without repositories)
    excluded_paths: tuple[str, ...] = ()  # files that hold answers; no index may have them
    repeated_task_ids: tuple[str, ...] = ()  # the target stands in another file too, and belongs there
    content_sha256: str = _NO_FILES  # of the files that an index may have


@dataclass(frozen=True)
class TaskFile:
    """A file of records, as it was read."""

    path: Path
    level: TaskLevel
    sha256: str
    num_records: int


@dataclass(frozen=True)
class Benchmark:
    """Everything an evaluation needs, in the order of the task files."""

    name: str
    tasks: tuple[CompletionTask, ...]
    repositories: tuple[BenchmarkRepository, ...]
    mismatches: tuple[Mismatch, ...]
    files: tuple[TaskFile, ...]
    notices: tuple[str, ...] = ()  # what people should know about how the data was verified

    @property
    def data_sha256(self) -> str:
        """Names the data in a run record: sha256 over the hashes of the task files."""
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()


@dataclass(frozen=True)
class Availability:
    """What of a benchmark is on this machine, and where the rest comes from."""

    task_files: tuple[Path, ...]
    repositories_here: tuple[str, ...]
    missing: tuple[str, ...]  # one sentence each

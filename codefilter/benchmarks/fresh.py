"""Fresh: tasks from packages that were first released after the default model was trained.

In: the task list that comes with this project, ``data/fresh/*.jsonl``, and the pinned packages. Out: verified
tasks. A line of the list only refers: package, version, path, lines [start, end), sha256 of the file; the
text is in the package, which ``codefilter benchmark prepare fresh`` fetches. `codefilter.benchmarks.sampling`
drew the list by RepoEval's protocol.

Notable: what speaks for "the model cannot know it" is the package index's own upload times
(``nothing_before`` in ``data/manifests/corpora.toml``); a model published later than that day may know it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codefilter.benchmarks.base import MismatchReason
from codefilter.benchmarks.layout import find_task_files
from codefilter.benchmarks.loading import MisplacedError, ReleasedBenchmark
from codefilter.benchmarks.records import RawLine, Record
from codefilter.packages import PackagePin, Progress, fetch_package, load_corpora, package_folder
from codefilter.paths import data_path
from codefilter.tasks import LineSpan, make_task
from codefilter.types import CompletionTask, SourceFile, TaskLevel

ROLE = "benchmark"  # of the packages in corpora.toml


@dataclass(frozen=True)
class FreshRecord(Record):
    """A reference to lines of a file; prompt and target stay empty."""

    version: str
    end_line: int
    content_hash: str  # sha256 of the whole file's text


class Fresh(ReleasedBenchmark):
    """The primary benchmark."""

    name = "fresh"
    contents = "400 line, 400 API, 100 function tasks in 10 Python packages of 2025 and 2026"
    levels = (TaskLevel.LINE, TaskLevel.API, TaskLevel.FUNCTION)
    origin = "They belong to this project's data/fresh."

    def data_folder(self, data: Path | None) -> Path | None:
        """The given folder or the variable's, or the project's own list."""
        chosen = data is not None or os.environ.get("CODEFILTER_FRESH")
        return super().data_folder(data) if chosen else data_path() / "fresh"

    def find_root(self, name: str, folder: Path | None) -> Path | None:
        """A package's folder: below a given folder, or in the cache."""
        cached = [package_folder(pin) for pin in _pins() if pin.name == name]
        return super().find_root(name, folder) or next((root for root in cached if root.is_dir()), None)

    def task_files(self, folder: Path) -> list[tuple[Path, TaskLevel]]:
        """One file per level."""
        found = {path.name: path for path in find_task_files(folder, ["*.jsonl"])}
        names = [(f"{level}.jsonl", level) for level in self.levels]
        return [(found[name], level) for name, level in names if name in found]

    def repository_names(self) -> tuple[str, ...]:
        """The packages."""
        return tuple(pin.name for pin in _pins())

    def fetchable_names(self) -> tuple[str, ...]:
        """All of them."""
        return self.repository_names()

    def parser(self, level: TaskLevel) -> Callable[[RawLine], Record]:
        """Parses the lines of one file."""
        return lambda line: _parse(line, level)

    def place(self, record: Record, source: SourceFile) -> CompletionTask:
        """The task at the record's lines; `MisplacedError` where the file is another one."""
        assert isinstance(record, FreshRecord)
        if source.content_hash != record.content_hash:
            raise MisplacedError(
                MismatchReason.CONTEXT_DIFFERS,
                f"{record.path} is not the file of {record.repository} {record.version}",
            )
        span = LineSpan(record.start_line, record.end_line)
        if not 0 <= span.start < span.end <= source.text.count("\n") + 1:
            raise MisplacedError(
                MismatchReason.TARGET_ELSEWHERE, f"{record.path} has no lines {span.start + 1}-{span.end}"
            )
        return make_task(record.repository, record.version, source, span, record.level)

    def prepare(self, progress: Progress) -> tuple[str, ...]:
        """Fetch the packages."""
        pins = _pins()
        for pin in pins:
            fetch_package(pin, progress)
        return tuple(f"{pin.name} {pin.version}" for pin in pins)


def _pins() -> list[PackagePin]:
    return [pin for pin in load_corpora() if pin.role == ROLE]


def _parse(line: RawLine, level: TaskLevel) -> FreshRecord:
    package, path = line.path(line.text("package")), line.path(line.text("path"))
    start, end = line.number("start_line"), line.number("end_line")
    return FreshRecord(
        file=line.file,
        line=line.line,
        task_id=f"{package}/{path}:{start + 1}-{end}",
        repository=package,
        path=path,
        level=level,
        prompt="",
        target="",
        right_context="",
        context_start_line=0,
        start_line=start,
        version=line.text("version"),
        end_line=end,
        content_hash=line.text("sha256"),
    )


def to_line(task: CompletionTask) -> dict[str, str | int]:
    """What the list keeps of a task; its level is the file's."""
    place = task.provenance
    return {
        "package": place.package,
        "version": place.version,
        "path": place.path,
        "start_line": place.start_line,
        "end_line": place.end_line,
        "sha256": place.content_hash,
    }

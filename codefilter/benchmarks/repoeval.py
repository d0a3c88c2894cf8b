"""RepoEval: line, API-call and function-body completion in 16 Python repositories.

Source: Zhang et al., "RepoCoder" (arXiv 2303.12570), section 4.1; the released ``datasets/*.jsonl`` and
``repositories/*.zip``. A target is whole lines. Its prompt is what stands before it, from
`context_start_lineno` on; the first line of a prompt was cut by tokens, so that only its end is there, and an
empty last line was lost.

Notable: three of the function-level repositories are packages of the Python index.
``data/manifests/repoeval.toml`` maps them, with the few lines in which the released package is not the commit
that RepoEval was made from.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from codefilter.benchmarks.base import MismatchReason
from codefilter.benchmarks.layout import find_task_files, prepared_folder
from codefilter.benchmarks.loading import MisplacedError, ReleasedBenchmark
from codefilter.benchmarks.records import SHARED_ID, RawLine, Record
from codefilter.errors import IntegrityError
from codefilter.packages import Progress, fetch_package, load_corpora
from codefilter.paths import atomic_folder, data_path
from codefilter.tasks import LineSpan, make_task
from codefilter.types import CompletionTask, SourceFile, TaskLevel

_FILE_NAME = re.compile(r"(line|api|function)_level_completion_(\dk)_context_(codegen|codex)\.test\.jsonl")
_PREFERRED = ("2k", "codex")  # the one variant that all three levels have
_CUT_CHARACTER = "\ufffd"  # what is left of a character that the cut by tokens went through


@dataclass(frozen=True)
class LineRepair:
    """A line in which the package differs from the benchmark's commit, as prompts show it."""

    path: str
    line_number: int  # from 1, as people read the manifest
    package: str
    commit: str


@dataclass(frozen=True)
class RepositoryOrigin:
    """Where one of RepoEval's repositories can be had."""

    name: str  # folder, as released: "owner_name"
    url: str
    level: str
    package: str = ""  # name in ``corpora.toml``; empty where no package has these sources
    repairs: tuple[LineRepair, ...] = ()


class RepoEval(ReleasedBenchmark):
    """RepoEval as released."""

    name = "repoeval"
    contents = "1600 line, 1600 API, 455 function tasks in 16 Python repositories"
    levels = (TaskLevel.LINE, TaskLevel.API, TaskLevel.FUNCTION)
    caveats = (
        "RepoEval's repositories are of 2022 and 2023: a model published since has probably been trained on "
        "them, so figures here say more about differences between arms than about the model.",
    )
    origin = (
        "Unpack RepoCoder/datasets/datasets.zip and RepoCoder/repositories/*.zip of "
        "https://github.com/microsoft/CodeT."
    )

    def known_sha256s(self) -> frozenset[str]:
        """Hashes of the task files that ``repoeval.toml`` names."""
        return frozenset(str(file["sha256"]) for file in _manifest()["task_file"])

    def task_files(self, folder: Path) -> list[tuple[Path, TaskLevel]]:
        """One file per level, the 2k Codex variant if it is there: all variants hold the same tasks."""
        chosen: dict[TaskLevel, tuple[bool, Path]] = {}
        for path in find_task_files(folder, ["*_level_completion_*_context_*.test.jsonl"]):
            if match := _FILE_NAME.fullmatch(path.name):
                level, rank = TaskLevel(match[1]), (match[2], match[3]) != _PREFERRED
                if level not in chosen or (rank, path) < chosen[level]:
                    chosen[level] = (rank, path)
        return [(chosen[level][1], level) for level in self.levels if level in chosen]

    def repository_names(self) -> tuple[str, ...]:
        """All 16 repositories."""
        return tuple(origin.name for origin in load_origins())

    def fetchable_names(self) -> tuple[str, ...]:
        """Those that are packages."""
        return tuple(origin.name for origin in load_origins() if origin.package)

    def parser(self, level: TaskLevel) -> Callable[[RawLine], Record]:
        """Parses the lines of one file; it numbers the tasks of a repository that all have the same id.

        The released function tasks have ("owner--name/idx"); the numbers are those that Repoformer gives.
        """
        counts: Counter[str] = Counter()
        return lambda line: self._parse(line, level, counts)

    def _parse(self, line: RawLine, level: TaskLevel, counts: Counter[str]) -> Record:
        metadata = line.section("metadata")
        parts = metadata.texts("fpath_tuple")
        task_id = metadata.text("task_id")
        record = Record(
            file=line.file,
            line=line.line,
            task_id=f"{parts[0]}/{counts[parts[0]]}" if task_id.endswith(SHARED_ID) else task_id,
            repository=metadata.path(parts[0]),
            path=metadata.path("/".join(parts[1:])),
            level=level,
            prompt=line.text("prompt"),
            target=metadata.text("ground_truth"),
            right_context="",
            context_start_line=metadata.number("context_start_lineno"),
            start_line=metadata.number("line_no", "lineno"),
        )
        counts[parts[0]] += 1
        return record

    def place(self, record: Record, source: SourceFile) -> CompletionTask:
        """Check target and prompt line by line; the task has the whole file around its target."""
        ends = source.text.splitlines(keepends=True)  # as the released scripts count lines
        lines = source.text.splitlines()
        target = record.target.splitlines()
        start, end = record.start_line, record.start_line + len(target)
        if not target or lines[start:end] != target:
            raise MisplacedError(MismatchReason.TARGET_ELSEWHERE, _where_it_is(record, lines))
        _check_prompt(record, lines[record.context_start_line : start])
        first = "".join(ends[:start]).count("\n")
        span = LineSpan(first, first + "".join(ends[start:end]).removesuffix("\n").count("\n") + 1)
        return make_task(record.repository, "", source, span, record.level)

    def prepare(self, progress: Progress) -> tuple[str, ...]:
        """Fetch the repositories that are packages, in the released folder layout."""
        pins = {pin.name: pin for pin in load_corpora() if pin.role == "repoeval"}
        done = []
        for origin in load_origins():
            if not origin.package:
                continue
            pin = pins[origin.package]
            package = fetch_package(pin, progress)
            target = prepared_folder(self.name) / "repositories" / origin.name
            with atomic_folder(target) as folder:
                shutil.copytree(package, folder, dirs_exist_ok=True)
                for repair in origin.repairs:
                    _repair(folder, repair)
            done.append(f"{origin.name} from {pin.name} {pin.version}, {len(origin.repairs)} lines put back")
        return tuple(done)


@cache
def load_origins() -> tuple[RepositoryOrigin, ...]:
    """The repositories of ``data/manifests/repoeval.toml``."""
    return tuple(
        RepositoryOrigin(**{**entry, "repairs": tuple(LineRepair(**r) for r in entry.get("repairs", []))})
        for entry in _manifest()["repository"]
    )


@cache
def _manifest() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads((data_path() / "manifests" / "repoeval.toml").read_text(encoding="utf-8"))


def _check_prompt(record: Record, before: list[str]) -> None:
    """Hold the prompt against the lines it was cut from; `MisplacedError` names the first that differs."""
    shown = record.prompt.split("\n") if record.prompt else []
    expected = before[:-1] if len(shown) == len(before) - 1 and before[-1] == "" else before
    if len(shown) != len(expected):
        raise MisplacedError(
            MismatchReason.CONTEXT_DIFFERS,
            f"the prompt has {len(shown)} lines, the file {len(expected)} there",
        )
    for number, (line, wanted) in enumerate(zip(shown, expected, strict=True)):
        fits = wanted.endswith(line.lstrip(_CUT_CHARACTER)) if number == 0 else line == wanted
        if not fits:
            place = record.context_start_line + number + 1
            raise MisplacedError(
                MismatchReason.CONTEXT_DIFFERS,
                f"line {place} of {record.path} is {_short(wanted)}, the prompt has {_short(line)}",
            )


def _where_it_is(record: Record, lines: list[str]) -> str:
    """What stands at the target's place, and where the target stands instead."""
    start = record.start_line
    target = record.target.splitlines()
    found = _short(lines[start]) if start < len(lines) else f"behind the end ({len(lines)} lines)"
    size = len(target)
    elsewhere = [str(i + 1) for i in range(len(lines) - size + 1) if target and lines[i : i + size] == target]
    at = f"; it stands at line {', '.join(elsewhere[:3])}" if elsewhere else ""
    return f"line {start + 1} of {record.path} is {found}{at}"


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:57]}...")


def _repair(root: Path, repair: LineRepair) -> None:
    path = root / repair.path
    lines = path.read_text(encoding="utf-8").split("\n")
    if lines[repair.line_number - 1] != repair.package:
        raise IntegrityError(
            f"line {repair.line_number} of {repair.path} is not what repoeval.toml says",
            hint="The package was published anew; report it.",
        )
    lines[repair.line_number - 1] = repair.commit
    path.write_text("\n".join(lines), encoding="utf-8")

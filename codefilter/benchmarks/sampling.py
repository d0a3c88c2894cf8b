"""Packages → the task list of Fresh, and tasks of any role to choose settings on.

In: pinned packages. Out: lists of tasks, the same for the same seed; for Fresh without what is nearly the
same as a chunk of the training packages. Notable: the near-duplicates are kept as references beside the list,
so that a list can be drawn again, and checked, without the training packages.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from codefilter.benchmarks.fresh import ROLE, to_line
from codefilter.chunking import chunk_file
from codefilter.errors import SourceError
from codefilter.near_duplicates import find_near_duplicates
from codefilter.packages import PackagePin, Progress, fetch_package, load_corpora, silent
from codefilter.paths import write_atomically
from codefilter.tasks import TaskRepository, read_repository, sample_levels, sample_tasks
from codefilter.types import CompletionTask, TaskLevel

FRESH_COUNTS = {TaskLevel.LINE: 40, TaskLevel.API: 40, TaskLevel.FUNCTION: 10}  # per package
SIMILARITY = 0.7
LANGUAGE = "python"  # as in RepoEval
DUPLICATES_FILE = "near_duplicates.json"

_ENOUGH = 10_000  # tasks of a level: all that a package has


@dataclass(frozen=True)
class DuplicatedChunk:
    """Lines [start, end) of a benchmark package that nearly stand in a training package."""

    package: str
    path: str
    start_line: int
    end_line: int
    duplicate_of: str  # package/path:first-last line, for people
    similarity: float


def load_package(pin: PackagePin, progress: Progress = silent) -> tuple[Path, TaskRepository]:
    """Fetch a package, if it is not in the cache, and read its sources."""
    root = fetch_package(pin, progress)
    return root, read_repository(root, pin.name, pin.version)


def sample_packages(
    role: str, counts: dict[TaskLevel, int], seed: int = 0
) -> Iterator[tuple[Path, list[CompletionTask]]]:
    """(root, tasks) per package of a role; `counts` is per package. Packages unfit for tasks give none."""
    for pin in load_corpora():
        if pin.role == role:
            root, repository = load_package(pin)
            yield root, list(sample_levels(repository, counts, seed))


def draw_fresh(folder: Path, seed: int = 0, progress: Progress = silent) -> list[CompletionTask]:
    """Draw the task list of Fresh into a folder; all its tasks.

    Raises:
        SourceError: a package has too few tasks of a level.
    """
    pins = load_corpora()
    packages = [load_package(pin, progress)[1] for pin in pins if pin.role == ROLE]
    training = (load_package(pin, progress)[1] for pin in pins if pin.role == "train")
    duplicates = find_duplicated_chunks(packages, training)
    tasks = [task for package in packages for task in draw_package(package, duplicates, seed)]
    for level in FRESH_COUNTS:
        lines = [json.dumps(to_line(task)) + "\n" for task in tasks if task.level is level]
        write_atomically(folder / f"{level}.jsonl", "".join(lines))
    write_atomically(
        folder / DUPLICATES_FILE, json.dumps([asdict(chunk) for chunk in duplicates], indent=1) + "\n"
    )
    return tasks


def draw_package(
    package: TaskRepository, duplicates: Sequence[DuplicatedChunk], seed: int = 0
) -> list[CompletionTask]:
    """The tasks of one package: `FRESH_COUNTS` of each level, none of them in a duplicated chunk."""
    ranges: Mapping[str, list[range]] = defaultdict(list)
    for chunk in duplicates:
        if chunk.package == package.name:
            ranges[chunk.path].append(range(chunk.start_line, chunk.end_line))
    drawn = []
    for level, count in FRESH_COUNTS.items():
        tasks = [
            task
            for task in sample_tasks(package, level, _ENOUGH, seed)
            if task.request.language == LANGUAGE and not _overlaps(task, ranges[task.request.path])
        ]
        if package.problem or len(tasks) < count:
            raise SourceError(
                f"{package.name} has {len(tasks)} {level} tasks, {count} are wanted",
                hint=f"Choose another package of role {ROLE!r} in corpora.toml. {package.problem or ''}",
            )
        drawn += tasks[:count]
    return drawn


def find_duplicated_chunks(
    packages: Iterable[TaskRepository], training: Iterable[TaskRepository]
) -> list[DuplicatedChunk]:
    """Chunks of packages that are nearly the same as a chunk of the training packages."""
    chunks = {
        f"{package.name}/{chunk.place}": (package.name, chunk)
        for package in packages
        for source in package.sources
        for chunk in chunk_file(source).chunks
    }
    references = (
        (f"{package.name}/{chunk.place}", chunk.text)
        for package in training
        for source in package.sources
        for chunk in chunk_file(source).chunks
    )
    items = ((name, chunk.text) for name, (_, chunk) in chunks.items())
    found = []
    for duplicate in find_near_duplicates(items, references, SIMILARITY):
        name, chunk = chunks[duplicate.item_id]
        found.append(
            DuplicatedChunk(
                name,
                chunk.path,
                chunk.start_line,
                chunk.end_line,
                duplicate.reference_id,
                round(duplicate.similarity, 3),
            )
        )
    return found


def read_duplicated_chunks(folder: Path) -> list[DuplicatedChunk]:
    """What `draw_fresh` kept beside its list."""
    return [DuplicatedChunk(**entry) for entry in json.loads((folder / DUPLICATES_FILE).read_text("utf-8"))]


def _overlaps(task: CompletionTask, ranges: Iterable[range]) -> bool:
    place = task.provenance
    return any(place.start_line < lines.stop and lines.start < place.end_line for lines in ranges)

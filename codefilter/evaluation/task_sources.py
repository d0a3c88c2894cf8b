"""Where the tasks of a run come from: a benchmark, packages of a role, or somebody's own repository.

In: a name or a folder. Out: `DrawnTasks`: tasks by repository, the hash that names the data, and everything
that has to be said beside the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from codefilter.benchmarks import Mismatch, get_benchmark
from codefilter.benchmarks.sampling import sample_packages
from codefilter.errors import UsageError
from codefilter.evaluation.selection import TaskGroup, group_tasks
from codefilter.packages import load_corpora
from codefilter.tasks import read_repository, sample_levels
from codefilter.types import TaskLevel, content_hash

SAMPLED_LEVELS = (TaskLevel.LINE, TaskLevel.API)  # unless others are asked for
NOTHING_TO_RETRIEVE = "No repository: nothing can be retrieved, every arm is `none`."
FRAGMENTS_TO_RETRIEVE = "No repository: what the records show of other files is all that is retrieved from."


@dataclass(frozen=True)
class DrawnTasks:
    """The tasks of a run, by repository."""

    name: str
    groups: tuple[TaskGroup, ...]
    data_sha256: str
    mismatches: tuple[Mismatch, ...] = ()  # records of the levels that give no task
    missing: tuple[str, ...] = ()  # what is not here, and where to get it
    notices: tuple[str, ...] = ()


def draw_benchmark(name: str, data: Path | None, levels: Sequence[TaskLevel] | None) -> DrawnTasks:
    """A benchmark's verified tasks; of all its levels by default.

    Raises:
        UsageError: there is no such benchmark or folder.
        SourceError: its task files are not here.
    """
    source = get_benchmark(name)
    loaded = source.load(data)
    chosen = levels or source.levels
    groups = tuple(group_tasks(loaded, chosen))
    return DrawnTasks(
        name,
        groups,
        loaded.data_sha256,
        tuple(mismatch for mismatch in loaded.mismatches if mismatch.level in chosen),
        source.availability(data).missing,
        (*loaded.notices, *source.caveats, *_without_repositories(groups)),
    )


def _without_repositories(groups: Sequence[TaskGroup]) -> tuple[str, ...]:
    alone = [task for group in groups if group.root is None for task in group.tasks]
    if not alone:
        return ()
    return (FRAGMENTS_TO_RETRIEVE if any(task.other_files for task in alone) else NOTHING_TO_RETRIEVE,)


def draw_packages(role: str, levels: Sequence[TaskLevel], count: int, seed: int) -> DrawnTasks:
    """`count` tasks per level and package of a role; packages that are not in the cache are fetched."""
    sampled = sample_packages(role, dict.fromkeys(levels, count), seed)
    groups = tuple(TaskGroup(tasks[0].repository, root, tuple(tasks)) for root, tasks in sampled if tasks)
    return DrawnTasks(role, groups, content_hash("".join(p.sha256 for p in load_corpora() if p.role == role)))


def draw_repository(root: Path, levels: Sequence[TaskLevel], count: int, seed: int) -> DrawnTasks:
    """`count` tasks per level from a folder, the levels in turn; what it is not fit for is in `missing`.

    Raises:
        UsageError: there is no such folder.
    """
    if not root.is_dir():
        raise UsageError(f"no folder {root}", hint="Check the path after --repo.")
    root = root.resolve()
    repository = read_repository(root, root.name, "")
    by_level = [sample_levels(repository, {level: count}, seed) for level in levels]
    in_turn = zip_longest(*by_level)  # so that a run that ends early has all levels
    tasks = tuple(task for tasks in in_turn for task in tasks if task is not None)
    return DrawnTasks(
        root.name,
        (TaskGroup(root.name, root, tasks),) if tasks else (),
        content_hash("".join(sorted(source.content_hash for source in repository.sources))),
        missing=(f"No tasks can be made of it: {repository.problem}.",) if repository.problem else (),
    )

"""Which tasks a run does: all of a benchmark, some drawn with a seed, one shard of many.

In: a verified `Benchmark`, or repositories with tasks. Out: `TaskGroup`s, one per repository; the order in
which their tasks are done.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codefilter.benchmarks import Benchmark
from codefilter.errors import UsageError
from codefilter.types import CompletionTask, TaskLevel

ROUND_TASKS = 5  # of each level and repository: an index is opened once a round


@dataclass(frozen=True)
class TaskGroup:
    """The tasks of one repository."""

    name: str
    root: Path | None  # None: only the tasks are here, so that there is nothing to retrieve from
    tasks: tuple[CompletionTask, ...]
    excluded_paths: tuple[str, ...] = ()  # files that hold answers: not indexed
    content_sha256: str = ""  # of a benchmark's repository
    repeated_task_ids: tuple[str, ...] = ()  # of tasks whose target stands in another file too


def group_tasks(benchmark: Benchmark, levels: Collection[TaskLevel]) -> list[TaskGroup]:
    """The benchmark's tasks of some levels, by repository."""
    by_repository: dict[str, list[CompletionTask]] = defaultdict(list)
    for task in benchmark.tasks:
        if task.level in levels:
            by_repository[task.repository].append(task)
    return [
        TaskGroup(
            repository.name,
            repository.root,
            tuple(tasks),
            repository.excluded_paths,
            repository.content_sha256,
            repository.repeated_task_ids,
        )
        for repository in benchmark.repositories
        if (tasks := by_repository[repository.name])
    ]


def only_repositories(groups: Sequence[TaskGroup], names: Collection[str]) -> list[TaskGroup]:
    """The tasks of some repositories; `UsageError` for a name that has none."""
    known = [group.name for group in groups]
    for name in names:
        if name not in known:
            raise UsageError(f"no tasks of a repository {name!r}", hint=f"There are: {', '.join(known)}.")
    return [group for group in groups if group.name in names]


def limit_tasks(groups: Sequence[TaskGroup], limit: int | None, seed: int = 0) -> list[TaskGroup]:
    """`limit` tasks, drawn with a seed, as even as can be over repositories and levels.

    A larger limit gives the tasks of a smaller one and more.
    """
    if limit is None:
        return list(groups)
    queues: dict[tuple[str, str], list[CompletionTask]] = defaultdict(list)
    for group in groups:
        for task in group.tasks:
            queues[group.name, task.level.value].append(task)
    for (name, level), queue in queues.items():
        random.Random(f"{seed}:{name}:{level}").shuffle(queue)
    rounds = sorted(queues, key=lambda key: random.Random(f"{seed}:{key}").random())
    chosen: set[str] = set()
    while len(chosen) < limit and any(queues.values()):
        for key in rounds:
            if queues[key] and len(chosen) < limit:
                chosen.add(queues[key].pop().task_id)
    return _only(groups, chosen)


def shard_tasks(groups: Sequence[TaskGroup], shard: int, num_shards: int) -> list[TaskGroup]:
    """Every `num_shards`-th task, beginning with number `shard`, which counts from 1."""
    tasks = [task for group in groups for task in group.tasks]
    return _only(groups, {task.task_id for task in tasks[shard - 1 :: num_shards]})


def in_rounds(groups: Sequence[TaskGroup]) -> list[tuple[TaskGroup, CompletionTask]]:
    """Every task once, with its group: in each round, `ROUND_TASKS` of each level of every repository.

    A run that is stopped has then done as much of one repository and level as of another.
    """
    placed = []
    for group in groups:
        before: Counter[TaskLevel] = Counter()
        for task in dict.fromkeys(group.tasks):
            placed.append((before[task.level] // ROUND_TASKS, group, task))
            before[task.level] += 1
    return [(group, task) for _, group, task in sorted(placed, key=lambda row: row[0])]


def parse_shard(text: str) -> tuple[int, int]:
    """``2/8`` → (2, 8); `UsageError` for what is no shard."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    shard, num_shards = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= shard <= num_shards:
        raise UsageError(f"{text!r} is no shard", hint="Write I/N, from 1/N to N/N.")
    return shard, num_shards


def _only(groups: Sequence[TaskGroup], task_ids: Collection[str]) -> list[TaskGroup]:
    kept = [replace(g, tasks=tuple(t for t in g.tasks if t.task_id in task_ids)) for g in groups]
    return [group for group in kept if group.tasks]

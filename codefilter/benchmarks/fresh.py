"""Fresh: completion tasks from packages that were first released after the default model was trained.

In: a role of ``data/manifests/corpora.toml`` ("benchmark"; "train" for choosing settings). Out: repositories
with their tasks, by RepoEval's protocol (`codefilter.tasks`), the same for the same seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codefilter.packages import PackagePin, fetch_package, load_corpora
from codefilter.tasks import TaskRepository, read_repository, sample_levels
from codefilter.types import CompletionTask, TaskLevel


def load_repository(pin: PackagePin) -> tuple[Path, TaskRepository]:
    """Fetch a package, if it is not in the cache, and read its sources."""
    root = fetch_package(pin)
    return root, read_repository(root, pin.name, pin.version)


def sample_packages(
    role: str, counts: dict[TaskLevel, int], seed: int = 0
) -> Iterator[tuple[Path, list[CompletionTask]]]:
    """(root, tasks) per package of a role; `counts` is per package. Packages unfit for tasks give none."""
    for pin in load_corpora():
        if pin.role == role:
            root, repository = load_repository(pin)
            yield root, list(sample_levels(repository, counts, seed))

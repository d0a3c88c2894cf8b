"""Feedback → tasks: what a person accepted, or wrote instead, in their own repository.

In: feedback records and the files of their repositories as they are now. Out: a `BuildPlan` whose tasks are
those places; `build_dataset` labels them like all others. Notable: the truth is what stands in the file
today, and only where the lines around it say so without doubt. So a task names path, lines and hashes as
every other does, and feedback itself never gets into a dataset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codefilter.dataset.build import BuildPlan
from codefilter.feedback import FeedbackRecord, find_place
from codefilter.tasks import LineSpan, TaskRepository, make_task
from codefilter.types import CompletionTask, TaskLevel


@dataclass(frozen=True)
class FeedbackPlan(BuildPlan):
    """Label what feedback tells of; other repositories only give controls."""

    records: tuple[FeedbackRecord, ...] = field(default=(), kw_only=True)

    @property
    def round_tasks(self) -> int:
        """At most so many tasks of a repository."""
        return len(self.records)

    @property
    def rounds(self) -> int:
        """Every repository gives all it has at once."""
        return 1

    def turn(self, repository: TaskRepository, number: int, seed: int) -> list[CompletionTask]:
        """The repository's tasks."""
        own = [record for record in self.records if Path(record.repository).name == repository.name]
        return find_tasks(own, repository)


def find_tasks(records: Sequence[FeedbackRecord], repository: TaskRepository) -> list[CompletionTask]:
    """Tasks for the records whose text still stands in the repository, newest first, no line twice."""
    sources = {source.path: source for source in repository.sources}
    taken: dict[str, set[int]] = defaultdict(set)
    tasks = []
    for record in sorted(records, key=lambda record: -record.time):
        source = sources.get(record.path)
        place = find_place(record, source.text) if source is not None else None
        if source is None or place is None or taken[record.path] & set(range(*place)):
            continue
        taken[record.path] |= set(range(*place))
        level = TaskLevel.LINE if place[1] - place[0] == 1 else TaskLevel.CHUNK
        tasks.append(make_task(repository.name, repository.version, source, LineSpan(*place), level))
    return tasks

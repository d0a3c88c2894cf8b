"""Evaluating on a Ray cluster: one model per worker process, tasks to whoever is idle.

In: work items. Out: what is to be kept of each, once its last arm is done. All arms of a task are one
worker's, so that they share what its prompts lead to; the results are those of a single process, in another
order.
Notable: repositories and filter weights must be at the same place on every node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain

from codefilter.config import Settings
from codefilter.evaluation.arms import Arm
from codefilter.evaluation.execution import TaskWorker, WorkItem
from codefilter.evaluation.results import Finding
from codefilter.metrics import METRIC_FAMILY
from codefilter.ray_workers import ModelWorker, RayWorkers


class _RemoteWorker(ModelWorker):
    """What runs in a worker process."""

    def __init__(self, settings: Settings, arms: Sequence[Arm], write: bool, family: str) -> None:
        super().__init__(settings)
        self._arms, self._write, self._family = arms, write, family

    @cached_property
    def _worker(self) -> TaskWorker:
        return TaskWorker(self.model, self._arms, write=self._write, family=self._family)

    def complete(self, item: WorkItem) -> list[Finding]:
        """One item."""
        return list(self._worker.run(item))


class RayExecutor:
    """Workers of a Ray cluster."""

    def __init__(
        self,
        settings: Settings,
        arms: Sequence[Arm],
        *,
        workers: int | None = None,
        write: bool = True,
        family: str = METRIC_FAMILY,
    ) -> None:
        """Start the workers; see `RayWorkers`. `settings` name the model."""
        self.arms = tuple(arms)
        self.workers = RayWorkers(_RemoteWorker, settings, self.arms, write, family, count=workers)
        self.identity = self.workers.identity
        self.description = self.workers.description

    def run(self, items: Iterator[WorkItem]) -> Iterator[Finding]:
        """See `Executor.run`; what is given out is begun, so that none waits behind the deadline."""
        return chain.from_iterable(self.workers.run("complete", items, ahead=0))

    def close(self) -> None:
        """End the workers, not the cluster."""
        self.workers.close()

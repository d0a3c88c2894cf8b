"""Labelling on a Ray cluster: one model per worker process, tasks to whoever is idle.

In: work items. Out: their outcomes as they are ready. Since a label depends on its task alone, the dataset is
the one that a single process makes, in another order.
Notable: control texts travel once. Repositories do not: every node reads packages from its own cache (or
fetches them), and folders must be at the same place on every node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from codefilter.config import Settings
from codefilter.controls import ControlRepository
from codefilter.dataset.execution import LabelWorker, Outcome, WorkItem, check_model
from codefilter.labeling import LabelOptions
from codefilter.lm.base import ModelIdentity
from codefilter.ray_workers import ModelWorker, RayWorkers


class _RemoteWorker(ModelWorker):
    """What runs in a worker process."""

    def __init__(self, settings: Settings, options: LabelOptions, keep_states: bool) -> None:
        super().__init__(settings)
        self._options, self._keep_states = options, keep_states
        self._worker: LabelWorker | None = None

    def about(self) -> tuple[ModelIdentity, str]:
        """See `ModelWorker.about`."""
        check_model(self.model, keep_states=self._keep_states)
        return super().about()

    def label(self, item: WorkItem, pool: Mapping[str, ControlRepository]) -> Outcome:
        """One item; the pool is the same every time."""
        if self._worker is None:
            self._worker = LabelWorker(
                self.model, self._settings, self._options, pool, keep_states=self._keep_states
            )
        return self._worker.label(item)


class RayExecutor:
    """Workers of a Ray cluster."""

    def __init__(
        self,
        settings: Settings,
        options: LabelOptions,
        *,
        workers: int | None = None,
        keep_states: bool = False,
    ) -> None:
        """Start the workers; see `RayWorkers`, and for the model's errors `check_model`."""
        self.settings = settings
        self.options = options
        self.workers = RayWorkers(_RemoteWorker, settings, options, keep_states, count=workers)
        self.identity = self.workers.identity
        self.description = self.workers.description

    def run(self, items: Iterator[WorkItem], pool: Mapping[str, ControlRepository]) -> Iterator[Outcome]:
        """See `Executor.run`; an item waits at every worker, since finding the next one can take a while."""
        return self.workers.run("label", items, dict(pool), ahead=1)

    def close(self) -> None:
        """End the workers, not the cluster."""
        self.workers.close()

"""Labelling on a Ray cluster: one model per worker process, tasks to whoever is idle.

In: work items. Out: their outcomes as they are ready. A worker that dies is started again by Ray and its task
given out anew; since a label depends on its task alone, the dataset is the one that a single process makes,
in another order.
Notable: control texts travel once, through Ray's object store. Repositories do not: every node reads packages
from its own cache (or fetches them), and folders must be at the same place on every node.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any

from codefilter.config import Settings
from codefilter.controls import ControlRepository
from codefilter.dataset.execution import LabelWorker, Outcome, WorkItem, check_model
from codefilter.errors import UsageError
from codefilter.labeling import LabelOptions
from codefilter.lm.base import LanguageModel, ModelIdentity

_ITEMS_PER_WORKER = 2  # one at work and one that waits, so that no worker is idle


class _RemoteWorker:
    """What runs in a worker process. The model is loaded by its first task, which can say what is wrong."""

    def __init__(self, settings: Settings, options: LabelOptions, keep_states: bool) -> None:
        self._settings, self._options, self._keep_states = settings, options, keep_states
        self._worker: LabelWorker | None = None

    @cached_property
    def _model(self) -> LanguageModel:
        from codefilter.lm.loading import load_model

        settings = self._settings
        return load_model(
            settings.model, engine=settings.engine, device=settings.device, dtype=settings.dtype
        )

    def about(self) -> tuple[ModelIdentity, str]:
        """The model's identity and description; `ModelError` where it cannot do what is wanted."""
        check_model(self._model, keep_states=self._keep_states)
        return self._model.identity, self._model.description

    def pid(self) -> int:
        """The worker's process."""
        return os.getpid()

    def label(self, item: WorkItem, pool: Mapping[str, ControlRepository]) -> Outcome:
        """One item; the pool is the same every time."""
        if self._worker is None:
            self._worker = LabelWorker(
                self._model, self._settings, self._options, pool, keep_states=self._keep_states
            )
        return self._worker.label(item)


class RayExecutor:
    """Workers of a Ray cluster: the one that `address` names, or one on this machine."""

    def __init__(
        self,
        settings: Settings,
        options: LabelOptions,
        *,
        workers: int | None = None,
        address: str | None = None,
        keep_states: bool = False,
    ) -> None:
        """Start the workers; by default as many as the cluster has GPUs, without GPUs one per node.

        Raises:
            UsageError: Ray is not installed.
            ModelError: the model cannot be loaded, or cannot do what is wanted (`check_model`).
        """
        try:
            import ray
        except ModuleNotFoundError:
            raise UsageError("--executor ray needs Ray", hint="pip install 'codefilter[ray]'") from None
        self._ray: Any = ray
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        gpus = int(ray.cluster_resources().get("GPU", 0))
        count = workers or gpus or len(ray.nodes())
        actor = ray.remote(num_gpus=1 if gpus >= count else 0, max_restarts=-1, max_task_retries=-1)(
            _RemoteWorker
        )
        self.settings = settings
        self.options = options
        self._workers = [actor.remote(settings, options, keep_states) for _ in range(count)]
        identity, description = self._get(self._workers[0].about.remote())
        self.identity: ModelIdentity = identity
        self.description = f"{description}, {count} Ray workers"

    def run(self, items: Iterator[WorkItem], pool: Mapping[str, ControlRepository]) -> Iterator[Outcome]:
        """See `Executor.run`."""
        shared = self._ray.put(dict(pool))
        at_work: dict[Any, Any] = {}  # what was promised → who does it

        def give(worker: Any, count: int) -> None:
            for item in islice(items, count):
                at_work[worker.label.remote(item, shared)] = worker

        for worker in self._workers:
            give(worker, _ITEMS_PER_WORKER)
        while at_work:
            (ready,), _ = self._ray.wait(list(at_work), num_returns=1)
            worker = at_work.pop(ready)
            outcome: Outcome = self._get(ready)
            yield outcome
            give(worker, 1)

    def _get(self, promised: Any) -> Any:
        """What a worker made, or its own error, without Ray's words around it."""
        try:
            return self._ray.get(promised)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error

    def close(self) -> None:
        """End the workers, not the cluster."""
        for worker in self._workers:
            self._ray.kill(worker)

"""Workers of a Ray cluster, one model in each; items go to whoever is idle.

In: what runs in a worker, items. Out: what was made of them, as it is ready. A worker that dies is started
again by Ray and its items given out anew. Notable: values that all items share travel once, through Ray's
object store. Repositories do not travel: every node reads them from its own disk.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any

from codefilter.config import Settings
from codefilter.errors import ModelError, UsageError
from codefilter.lm.base import LanguageModel, ModelIdentity

_MOST_RETRIES = 3  # of a task whose worker ended


class ModelWorker:
    """Base of what runs in a worker. The model is loaded by the first task, which can say what is wrong."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def model(self) -> LanguageModel:
        """The settings' model."""
        from codefilter.lm.loading import load_configured_model

        return load_configured_model(self._settings)

    def about(self) -> tuple[ModelIdentity, str]:
        """The model's identity and description; `ModelError` where it cannot do what is wanted."""
        return self.model.identity, self.model.description

    def pid(self) -> int:
        """The worker's process."""
        return os.getpid()


class RayWorkers:
    """Workers of the cluster that ``RAY_ADDRESS`` names, or of one on this machine."""

    def __init__(self, kind: type[ModelWorker], *arguments: object, count: int | None = None) -> None:
        """Start the workers, each a `kind` made of the arguments.

        By default there are as many as the cluster has GPUs, without GPUs one per node. More than GPUs share
        them: a model that writes one text at a time leaves most of a large one idle.

        Raises:
            UsageError: Ray is not installed.
            ModelError: the model cannot be loaded, or cannot do what is wanted.
        """
        ray = self._ray = _import_ray()
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False)
        gpus = int(ray.cluster_resources().get("GPU", 0))
        count = count or gpus or sum(node["Alive"] for node in ray.nodes())
        actor = ray.remote(
            num_cpus=0,  # with one for each, more workers than cores would be waited for without an end
            num_gpus=1 / math.ceil(count / gpus) if gpus else 0,  # without a share Ray hides them
            scheduling_strategy="SPREAD",
            max_restarts=-1,
            max_task_retries=_MOST_RETRIES,
        )(kind)
        self._workers: list[Any] = [actor.remote(*arguments) for _ in range(count)]
        identity, description = self._get(self._workers[0].about.remote())
        self.identity: ModelIdentity = identity
        self.description = f"{description}, {count} Ray worker{'s' if count > 1 else ''}"

    def run(self, task: str, items: Iterator[Any], *shared: object, ahead: int) -> Iterator[Any]:
        """What the workers' method `task` returns for each item and what they share, as it is ready.

        An item is taken when there is somebody to do it; `ahead` is how many a worker has beside the one at
        work, so that it need not wait for the next.
        """
        known = [self._ray.put(value) for value in shared]
        at_work: dict[Any, Any] = {}  # what was promised → who does it

        def give(worker: Any, count: int) -> None:
            for item in islice(items, count):
                at_work[getattr(worker, task).remote(item, *known)] = worker

        for worker in self._workers:
            give(worker, 1 + ahead)
        while at_work:
            (ready,), _ = self._ray.wait(list(at_work), num_returns=1)
            worker = at_work.pop(ready)
            yield self._get(ready)
            give(worker, 1)

    @property
    def pids(self) -> list[int]:
        """The workers' processes."""
        return [self._get(worker.pid.remote()) for worker in self._workers]

    def _get(self, promised: Any) -> Any:
        """What a worker made, or its own error, without Ray's words around it."""
        try:
            return self._ray.get(promised)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayActorError as error:
            raise ModelError(
                f"a Ray worker ended {_MOST_RETRIES + 1} times at the same task",
                hint="Is there enough memory for so many --workers? The same command goes on.",
            ) from error

    def close(self) -> None:
        """End the workers, not the cluster."""
        for worker in self._workers:
            self._ray.kill(worker)


def _import_ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise UsageError("--executor ray needs Ray", hint="pip install 'codefilter[ray]'") from None
    return ray

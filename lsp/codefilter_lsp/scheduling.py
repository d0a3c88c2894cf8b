"""Newest wins: a request that a newer one replaces, or that the editor cancels, is answered at once.

In: work for the one thread that runs the model. Out: its result, or `asyncio.CancelledError`, which pygls
answers as RequestCancelled.

Notable: pygls cannot stop a handler that runs in a thread (``$/cancelRequest`` reaches only futures that have
not started). So handlers are coroutines that wait here; when one is cancelled it answers, and only then does
the thread see the `Cancellation` and end, typically within a few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import Any, TypeVar

from codefilter.lm.base import Cancellation

T = TypeVar("T")


class NewestWins:
    """Runs work of coroutines on an executor; at most one of them waits per key."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._waiting: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, key: Hashable, work: Callable[[Cancellation], T]) -> T:
        """Do the work for the current task, after cancelling the task that still waits under this key.

        Work that has not begun when its task is cancelled never begins.
        """
        task = asyncio.current_task()
        assert task is not None
        older = self._waiting.get(key)
        if older is not None:
            older.cancel()
        self._waiting[key] = task
        cancellation = Cancellation()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, cancellation)
        except asyncio.CancelledError:
            cancellation.cancel()
            raise
        finally:
            if self._waiting.get(key) is task:
                del self._waiting[key]

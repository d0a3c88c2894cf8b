"""Newest wins: a request that a newer one replaces, or that the editor cancels, is answered at once.

In: work for the one thread that runs the model. Out: its result, or `asyncio.CancelledError`, which pygls
answers as RequestCancelled.

Notable: pygls cannot stop a handler that runs in a thread (``$/cancelRequest`` reaches only futures that have
not started). So handlers are coroutines that wait here. Who replaces or cancels a request sets its
`Cancellation` at once, not when the event loop comes round to the cancelled task: until then the thread could
begin work that nobody waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import Any, TypeVar

from codefilter.errors import CancelledError
from codefilter.lm.base import Cancellation

T = TypeVar("T")


class NewestWins:
    """Runs work of coroutines on an executor; at most one of them waits per key."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._waiting: dict[Hashable, tuple[asyncio.Task[Any], Cancellation]] = {}
        self._idle = Cancellation()

    async def run(self, key: Hashable, work: Callable[[Cancellation], T], delay_seconds: float = 0.0) -> T:
        """Do the work for the current task, after cancelling the task that still waits under this key.

        Work that has not begun when its task is cancelled never begins.
        """
        task = asyncio.current_task()
        assert task is not None
        self._idle.cancel()
        self.supersede(key)
        cancellation = Cancellation()
        self._waiting[key] = task, cancellation
        try:
            if delay_seconds > 0:
                await asyncio.sleep(delay_seconds)
            return await self._execute(work, cancellation)
        finally:
            if self._waiting.get(key) == (task, cancellation):
                del self._waiting[key]

    def supersede(self, key: Hashable) -> None:
        """Cancel the task that still waits under a key: a newer one is there, whoever answers that."""
        if (older := self._waiting.pop(key, None)) is not None:
            task, cancellation = older
            cancellation.cancel()
            task.cancel()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._waiting

    def claim_idle(self) -> Cancellation:
        """The leave to work when nobody waits; the next request of any key, or claim, takes it away."""
        self._idle.cancel()
        self._idle = Cancellation()
        return self._idle

    async def run_when_idle(
        self, work: Callable[[Cancellation], None], claim: Cancellation | None = None
    ) -> bool:
        """Do work that nobody waits for, once nobody waits for anything else. Whether it was done.

        Without a claim it claims now, which is too late in a task that was started: it may first run after a
        newer request has come.
        """
        claim = claim or self.claim_idle()
        while self._waiting and not claim.cancelled:
            await asyncio.wait([task for task, _ in self._waiting.values()])
        try:
            await self._execute(work, claim)
        except CancelledError:
            return False
        return True

    async def _execute(self, work: Callable[[Cancellation], T], cancellation: Cancellation) -> T:
        """Do work on the executor; it stops, or never begins, when the current task is cancelled."""

        def begin() -> T:
            cancellation.raise_if_cancelled()
            return work(cancellation)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, begin)
        except asyncio.CancelledError:
            cancellation.cancel()
            raise

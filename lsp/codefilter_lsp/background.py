"""Work that no request waits for, and what may be said to the editor about it.

In: coroutines. Out: nothing but what they do; a failure is reported once and ends nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from codefilter.errors import CancelledError, CodeFilterError
from codefilter.lm.base import Cancellation
from codefilter_lsp.progress import Report
from codefilter_lsp.settings import in_one_line
from codefilter_lsp.status import Status

_log = logging.getLogger(__name__)

A = TypeVar("A")


class Editor(Protocol):
    """What the rest of the server may say to the editor. For the event loop's thread only."""

    def tell(self, message: str) -> None:
        """Show the user a message; the same message only once."""

    def log(self, message: str) -> None:
        """Write to the editor's log of this server."""

    def show_progress(self, title: str) -> AbstractAsyncContextManager[Report]:
        """Show progress while a block runs."""

    def show_status(self, status: Status) -> None:
        """Show what goes on, where the editor has a place for it."""


class Background:
    """Tasks beside the requests. For the event loop's thread only."""

    def __init__(self, editor: Editor) -> None:
        self.stopping = Cancellation()
        self._editor = editor
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, what: str, work: Callable[[A], Coroutine[Any, Any, None]], argument: A) -> None:
        """Run something; its failure is reported."""
        if self.stopping.cancelled:
            return

        async def guarded() -> None:
            try:
                await work(argument)
            except Exception as error:
                self.report(error, what)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End all tasks, and wait until they have."""
        self.stopping.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def report(self, error: Exception, what: str) -> str:
        """Tell the user and the log what failed; returns the reason in one line."""
        if isinstance(error, CancelledError):
            return "cancelled"
        if isinstance(error, CodeFilterError):
            reason = in_one_line(error)
            self._editor.log(f"{what}: {reason}")
            self._editor.tell(f"CodeFilter: {reason}")
            return reason
        _log.error("%s failed", what, exc_info=error)
        reason = f"{type(error).__name__}: {error} (this is a bug)"
        self._editor.log(f"{what}: {reason}")
        return reason

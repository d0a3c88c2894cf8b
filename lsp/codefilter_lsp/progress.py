"""Work-done progress: what the editor shows while an index is built or a model is loaded.

In: reports from any thread. Out: ``$/progress`` notifications from the server's thread, at most ten a second.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from lsprotocol.types import WorkDoneProgressBegin, WorkDoneProgressEnd, WorkDoneProgressReport
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

_INTERVAL_SECONDS = 0.1
_CREATE_TIMEOUT_SECONDS = 5.0

Report = Callable[[str, int], None]  # message, percentage


@asynccontextmanager
async def show_progress(server: LanguageServer, title: str) -> AsyncIterator[Report]:
    """Show progress while the block runs; it gets a function to call from any thread."""
    token = str(uuid.uuid4())
    if not await _create(server, token):
        yield lambda message, percentage: None
        return
    progress, loop, last = server.work_done_progress, asyncio.get_running_loop(), 0.0

    def report(message: str, percentage: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _INTERVAL_SECONDS:
            last = time.monotonic()
            value = WorkDoneProgressReport(message=message, percentage=percentage)
            loop.call_soon_threadsafe(progress.report, token, value)

    progress.begin(token, WorkDoneProgressBegin(title=title, percentage=0))
    try:
        yield report
    finally:
        progress.end(token, WorkDoneProgressEnd())


async def _create(server: LanguageServer, token: str) -> bool:
    window = server.client_capabilities.window
    if window is None or not window.work_done_progress:
        return False
    try:
        await asyncio.wait_for(server.work_done_progress.create_async(token), _CREATE_TIMEOUT_SECONDS)
    except (JsonRpcException, TimeoutError):  # an editor that declines is as good as one that cannot
        return False
    return True

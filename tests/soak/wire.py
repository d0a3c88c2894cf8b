"""One editor on the server's standard input and output, byte by byte.

In: messages, also such as no client library would send. Out: every answer with its time, and what was
answered twice or never.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REQUEST_CANCELLED, SERVER_CANCELLED, CONTENT_MODIFIED = -32800, -32802, -32801
CANCELLED = (REQUEST_CANCELLED, SERVER_CANCELLED, CONTENT_MODIFIED)
MISUSED = (-32700, -32600, -32601, -32602)  # what the JSON-RPC specification has for an editor's own faults


@dataclass
class Asked:
    """One request and its answer."""

    method: str
    sent: float
    done: float | None = None
    result: Any = None
    error: dict[str, Any] | None = None
    answers: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def seconds(self) -> float:
        assert self.done is not None
        return self.done - self.sent

    @property
    def is_cancelled(self) -> bool:
        return self.error is not None and self.error["code"] in CANCELLED


class Wire:
    """A started server."""

    def __init__(self, settings: Callable[[], object]) -> None:
        """`settings`: what the editor answers when it is asked for them."""
        self.asked: dict[int, Asked] = {}
        self.messages: list[str] = []
        self.notifications: Counter[str] = Counter()
        self.strangers = 0  # answers to what was never asked
        self._settings = settings
        self._next_id = 0

    async def start(
        self, *command: str, environment: Mapping[str, str], stderr: Path, cwd: Path | None = None
    ) -> None:
        with stderr.open("wb") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=dict(environment),
                cwd=cwd,
            )
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def drain(self) -> None:
        """Wait until the server has taken what was sent."""
        assert self._process.stdin is not None
        await self._process.stdin.drain()

    def send_bytes(self, body: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def send(self, message: object) -> None:
        self.send_bytes(json.dumps(message).encode())

    def notify(self, method: str, params: object) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def request(self, method: str, params: object) -> Asked:
        self._next_id += 1
        asked = self.asked[self._next_id] = Asked(method, time.perf_counter())
        self.send({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params})
        return asked

    def cancel(self, asked: Asked) -> None:
        number = next(number for number, known in self.asked.items() if known is asked)
        self.notify("$/cancelRequest", {"id": number})

    async def call(self, method: str, params: object, seconds: float = 60.0) -> Any:
        """Ask and wait; an error is an exception."""
        asked = self.request(method, params)
        await asyncio.wait_for(asked.arrived.wait(), seconds)
        if asked.error is not None:
            raise RuntimeError(f"{method}: {asked.error}")
        return asked.result

    async def stop(self) -> int:
        """Shut the server down; its exit code."""
        await self.call("shutdown", None)
        self.notify("exit", None)
        return await self.ended()

    async def ended(self) -> int:
        """Wait until the server has ended; its exit code."""
        code = await asyncio.wait_for(self._process.wait(), 30)
        await self._reading
        return code

    async def close(self) -> None:
        """Whatever happened: there is no process any more."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while True:
                header = await self._process.stdout.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.partition(b":")[2])
                    for line in header.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                self._take(json.loads(await self._process.stdout.readexactly(length)))
        except asyncio.IncompleteReadError:
            pass  # it has ended
        for asked in self.asked.values():
            asked.arrived.set()

    def _take(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method is None:
            self._take_answer(message)
        elif "id" in message:
            items = message["params"].get("items", ()) if isinstance(message["params"], dict) else ()
            result = [self._settings() for _ in items] if method == "workspace/configuration" else None
            self.send({"jsonrpc": "2.0", "id": message["id"], "result": result})
        else:
            self.notifications[method] += 1
            if method == "window/showMessage":
                self.messages.append(message["params"]["message"])

    def _take_answer(self, message: dict[str, Any]) -> None:
        asked = self.asked.get(message.get("id", 0))
        if asked is None:
            self.strangers += 1  # the answer to JSON that cannot be read has no id
            return
        asked.answers += 1
        asked.done = time.perf_counter()
        asked.result, asked.error = message.get("result"), message.get("error")
        asked.arrived.set()

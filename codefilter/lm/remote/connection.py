"""HTTP to one server: what is tried again, how long is waited, what an error says, how work is cancelled.

In: paths and JSON. Out: JSON, or a stream of it; every failure is a `ModelError` with a hint.
Notable: no connection, 429 and 5xx but 501 are tried again, which does no harm: a completion changes nothing
on the server. What breaks off later is not. A connection serves one call: most outputs end by a rule on this
side, and ending them early closes the connection anyway.
The key goes into a header and nowhere else; what a server says about it is blotted out.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from codefilter.errors import ModelError, PromptError, ServerError
from codefilter.lm.base import Cancellation
from codefilter.lm.remote.endpoint import KEY_VARIABLE, Endpoint

POLL_SECONDS = 0.02  # how often a cancellation is looked for
_UNAVAILABLE = frozenset({401, 403, 404, 429, 502, 503, 504})
_UNFIT = frozenset({400, 413, 422})
_DETAIL_LENGTH = 200  # characters of a server's own words

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to try."""

    connect_seconds: float = 5.0
    silence_seconds: float = 120.0  # without a part of the answer; a CPU may read a prompt that long
    attempts: int = 4
    backoff_seconds: float = 0.5  # before the second attempt, then doubled
    longest_wait_seconds: float = 30.0  # that a server may ask for


class RefusedError(ModelError):
    """The server answered, with a status that is not success."""

    def __init__(self, message: str, *, status: int, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class UnavailableError(RefusedError, ServerError):
    """The status says that the server would refuse any request now: another key, later, elsewhere."""


class RefusedPromptError(RefusedError, PromptError):
    """The status says that it is this request that the server does not take: for its length, for instance."""


class Connection:
    """One call's connections to one server; an async context."""

    def __init__(self, endpoint: Endpoint, key: str, patience: Patience) -> None:
        self._url = endpoint.base_url
        self._key = key
        self._patience = patience
        self._client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(patience.silence_seconds, connect=patience.connect_seconds),
            verify=_ssl_context() if self._url.startswith("https:") else False,  # there is nothing to verify
            trust_env=not endpoint.is_on_this_machine,  # a proxy is not asked for what is here
            follow_redirects=False,  # the prompt and the key go where the user said
        )

    @property
    def url(self) -> str:
        """The server's address."""
        return self._url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str) -> Any:
        """What the server says at a path."""
        return await self._read("GET", path, None)

    async def post(self, path: str, body: object) -> Any:
        """The answer to a request, read whole."""
        return await self._read("POST", path, body)

    async def events(self, path: str, body: object) -> AsyncGenerator[Any]:
        """The answer to a request as it comes: server-sent events. Close it to make the server stop."""
        async with self._open("POST", path, body) as response:
            with self._explained():
                source = aiter(httpx2.EventSource(response))
            async with aclosing(source):  # type: ignore[type-var]  # it is a generator
                while True:
                    with self._explained():
                        async with asyncio.timeout(self._patience.silence_seconds):  # comments are no answer
                            event = await anext(source, None)
                    if event is None or event.data.strip() == "[DONE]":
                        return
                    answer = self._parse(event.data)
                    if isinstance(answer, dict) and answer.get("error"):
                        raise ModelError(
                            f"{self._url} failed while it wrote: {self._detail(event.data)}",
                            hint="See the server's log.",
                        )
                    yield answer

    async def _read(self, method: str, path: str, body: object) -> Any:
        async with self._open(method, path, body) as response:
            with self._explained():
                async with asyncio.timeout(self._patience.silence_seconds):  # it has begun to come
                    data = await response.aread()
            return self._parse(data)

    @asynccontextmanager
    async def _open(self, method: str, path: str, body: object) -> AsyncIterator[httpx2.Response]:
        """Send a request until it is answered with success; raise what the last attempt met."""
        for attempt in range(1, self._patience.attempts + 1):
            request = self._client.build_request(method, self._url + path, json=body)
            last = attempt == self._patience.attempts
            asked_seconds = 0.0
            with self._explained():
                try:
                    response = await self._client.send(request, stream=True)
                except (httpx2.ConnectError, httpx2.ConnectTimeout):
                    if last:
                        raise
                    response = None
            if response is not None:
                try:
                    if response.is_success:
                        yield response
                        return
                    refusal = await self._refusal(response)
                finally:
                    await response.aclose()
                asked_seconds = _retry_after_seconds(response.headers.get("Retry-After", ""))
                if (
                    last
                    or not _is_passing(refusal.status)
                    or asked_seconds > self._patience.longest_wait_seconds
                ):
                    raise refusal
            backoff_seconds = self._patience.backoff_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            await asyncio.sleep(max(asked_seconds, backoff_seconds))

    async def _refusal(self, response: httpx2.Response) -> RefusedError:
        with self._explained():
            said = self._detail(await response.aread())
        status = response.status_code
        codes = httpx2.codes
        if status in (codes.UNAUTHORIZED, codes.FORBIDDEN):
            hint = f"Set {KEY_VARIABLE} to a key that the server knows."
        elif status == codes.TOO_MANY_REQUESTS:
            wait = self._quoted(response.headers.get("Retry-After", ""))
            hint = f"It asks to wait: {wait}." if wait else "Wait, or ask for a larger allowance."
        elif status >= 500:
            hint = "See the server's log; it may still be loading its model."
        elif response.is_redirect:
            location = self._quoted(response.headers.get("Location", ""))
            said, hint = f"it is elsewhere: {location}", "Give that address after remote:."
        else:
            hint = "Check the address, the name of the model, and the length of the prompt."
        if status in _UNAVAILABLE:
            kind: type[RefusedError] = UnavailableError
        else:
            kind = RefusedPromptError if status in _UNFIT else RefusedError
        return kind(f"{self._url} answered {status}: {said}", status=status, hint=hint)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the HTTP library raises into a `ModelError`."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise ServerError(
                f"cannot reach {self._url}: {str(error) or 'no answer'}",
                hint="Is the server running there, and the address right?",
            ) from error
        except (httpx2.TimeoutException, TimeoutError) as error:
            raise ServerError(
                f"{self._url} was silent for {self._patience.silence_seconds:g} s",
                hint="It may be overloaded, or the prompt too long for it: lower cross_file_tokens.",
            ) from error
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            raise broke_off(self._url) from error
        except httpx2.HTTPError as error:
            raise ModelError(
                f"{self._url} does not speak the protocol: {self._detail(str(error))}",
                hint="Check the address: it must be a server of completions.",
            ) from error

    def _parse(self, text: str | bytes) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise malformed(self._url) from error

    def _detail(self, text: str | bytes) -> str:
        """What a server says of an error, in one short line."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        with contextlib.suppress(ValueError, AttributeError, RecursionError):
            answer = json.loads(text)
            answer = answer.get("error") or answer.get("detail") or answer.get("message") or answer
            text = str(answer.get("message") if isinstance(answer, dict) else answer)
        return self._quoted(text) or "nothing more"

    def _quoted(self, text: str) -> str:
        """What a server wrote, in one short line, without the key."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:_DETAIL_LENGTH]


def broke_off(url: str) -> ServerError:
    """The connection ended before the answer did."""
    return ServerError(f"{url} broke off in the middle of its answer", hint="See the server's log.")


def malformed(what: str) -> ModelError:
    """An answer that is not what the protocol says."""
    return ModelError(
        f"{what}: the answer is not what the protocol says",
        hint="Is it a llama-server, or a server with OpenAI's /v1/completions?",
    )


def run(work: Coroutine[Any, Any, T], cancellation: Cancellation | None = None) -> T:
    """Run one call's work in a loop of its own; `CancelledError` soon after a cancellation.

    Unlike `asyncio.run` it does not wait for a host name that is still being looked up.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_watched(work, cancellation))
    finally:
        for task in (left := asyncio.all_tasks(loop)):
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _watched(work: Coroutine[Any, Any, T], cancellation: Cancellation | None) -> T:
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait({task}, timeout=POLL_SECONDS if cancellation is not None else None)
        if cancellation is not None and cancellation.cancelled:
            task.cancel()  # closes its connections
            await asyncio.wait({task})
            cancellation.raise_if_cancelled()
    return task.result()


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    return httpx2.create_ssl_context()  # reads all certificates: once per process


def _is_passing(status: int) -> bool:
    """Whether the same request may be answered a little later."""
    if status == httpx2.codes.NOT_IMPLEMENTED:
        return False
    return status == httpx2.codes.TOO_MANY_REQUESTS or status >= 500


def _retry_after_seconds(value: str) -> float:
    """Seconds of a ``Retry-After`` header (a number or a date); 0 where there is none."""
    if value.isascii() and value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0

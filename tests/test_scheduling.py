from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from codefilter.lm.base import Cancellation
from codefilter_lsp.scheduling import NewestWins


@pytest.fixture
def requests() -> Iterator[NewestWins]:
    with ThreadPoolExecutor(1) as executor:
        yield NewestWins(executor)


def wait_until_cancelled(cancellation: Cancellation) -> None:
    cancellation.wait(30)


async def test_work_runs_and_its_errors_come_through(requests: NewestWins) -> None:
    assert await requests.run("a", lambda cancellation: cancellation.cancelled) is False
    with pytest.raises(ZeroDivisionError):
        await requests.run("a", lambda _: 1 / 0)


async def test_a_newer_request_cancels_the_older_one_of_its_key(requests: NewestWins) -> None:
    older = asyncio.create_task(requests.run("a", wait_until_cancelled))
    await asyncio.sleep(0.05)
    started = time.monotonic()
    assert await requests.run("a", lambda _: "new") == "new"
    assert time.monotonic() - started < 25  # and not the 30 s that the older one takes
    with pytest.raises(asyncio.CancelledError):
        await older


async def test_other_keys_are_left_alone(requests: NewestWins) -> None:
    release = threading.Event()
    first = asyncio.create_task(requests.run("a", lambda _: release.wait(10)))
    await asyncio.sleep(0)
    second = asyncio.create_task(requests.run("b", lambda _: "b"))
    await asyncio.sleep(0.05)
    assert not first.done()
    release.set()
    assert await first is True
    assert await second == "b"


async def test_a_cancelled_request_is_answered_before_its_work_has_ended(requests: NewestWins) -> None:
    entered, release = threading.Event(), threading.Event()
    seen: list[bool] = []

    def stubborn(cancellation: Cancellation) -> None:
        entered.set()
        release.wait(10)
        seen.append(cancellation.cancelled)

    task = asyncio.create_task(requests.run("a", stubborn))
    await asyncio.to_thread(entered.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not seen
    release.set()
    await requests.run("a", lambda _: None)
    assert seen == [True]


async def test_work_that_has_not_begun_never_begins(requests: NewestWins) -> None:
    release, ran = threading.Event(), []
    blocker = asyncio.create_task(requests.run("a", lambda _: release.wait(10)))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(requests.run("b", lambda _: ran.append("old")))
    await asyncio.sleep(0)
    newer = asyncio.create_task(requests.run("b", lambda _: ran.append("new")))
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(blocker, newer)
    assert waiting.cancelled()
    assert ran == ["new"]


async def test_idle_work_stops_with_its_task(requests: NewestWins) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def measure(cancellation: Cancellation) -> None:
        begun.set()
        try:
            cancellation.wait(10)
        finally:
            stopped.set()

    task = asyncio.create_task(requests.run_when_idle(measure))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(stopped.wait, 5)


async def test_idle_work_waits_for_the_requests_before_it(requests: NewestWins) -> None:
    release, order = threading.Event(), []

    def answer(_: Cancellation) -> None:
        release.wait(10)
        order.append("answer")

    request = asyncio.create_task(requests.run("a", answer))
    await asyncio.sleep(0)
    idle = asyncio.create_task(requests.run_when_idle(lambda _: order.append("idle")))
    await asyncio.sleep(0)
    release.set()
    assert await idle is True
    assert request.done()
    assert order == ["answer", "idle"]


async def test_idle_work_that_was_claimed_before_a_request_does_not_follow_it(requests: NewestWins) -> None:
    claim, ran = requests.claim_idle(), []
    assert await requests.run("a", lambda _: "answer") == "answer"
    assert await requests.run_when_idle(lambda _: ran.append("idle"), claim) is False
    assert not ran


async def test_a_request_stops_idle_work_that_still_waits(requests: NewestWins) -> None:
    release, ran = threading.Event(), []
    first = asyncio.create_task(requests.run("a", lambda _: release.wait(10)))
    await asyncio.sleep(0)
    idle = asyncio.create_task(requests.run_when_idle(lambda _: ran.append("idle")))
    await asyncio.sleep(0)
    newer = asyncio.create_task(requests.run("b", lambda _: ran.append("newer")))
    await asyncio.sleep(0)
    release.set()
    assert await idle is False
    await asyncio.gather(first, newer)
    assert ran == ["newer"]

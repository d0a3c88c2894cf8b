"""A short soak: everything that a long one does (``python -m tests.soak``), for some hundred requests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.soak.running import MOST_GROWTH_MB, Plan, memory_growth, soak
from tests.soak.wire import Asked, Wire

REQUESTS = 150
INVALID_REQUEST = -32600
QUICK = {"model": "fake:prompt_ms=0.005,token_ms=0.5"}


async def test_every_request_is_answered_and_nothing_leaks(tmp_path: Path) -> None:
    plan = Plan(REQUESTS, QUICK, seed=1, key_seconds=0.01, is_long=False)
    figures = await soak(plan, tmp_path)
    assert figures.problems == []
    assert figures.requests >= REQUESTS
    assert figures.answers["inline, with a text"] > 0
    assert figures.answers["inline, superseded or cancelled"] > 0
    assert figures.answers["of the wrong form, refused"] > 0
    assert figures.superseded_ms["number"] > 0
    assert figures.stopped_ms["number"] > 0
    assert 0 <= figures.stopped_ms["share_within_150"] <= 1
    assert figures.texts_compared > REQUESTS / 2
    assert set(figures.prompts_with) == {"VISIBLE_copy"}


def test_growth_like_that_of_a_leak_once_found_is_too_much() -> None:
    leaking = [98.8, 103.4, 104.8, 105.5, 107.4, 109.2, 110.6, 112.5, 114.6, 115.9]
    mended = [93.1, 97.9, 99.7, 101.2, 101.9, 102.5, 103.3, 105.4, 107.0, 107.7]
    assert memory_growth(leaking, 20_000) == 8.5 > MOST_GROWTH_MB
    assert memory_growth(mended, 20_000) == 5.8 < MOST_GROWTH_MB
    assert memory_growth(leaking, 40_000) == 4.2
    assert memory_growth(leaking, 300) is None  # caches are still filling


BROKEN = [b"[1]", b'{"jsonrpc": "1.0", "id": 1, "method": "shutdown"}']


@pytest.mark.parametrize("broken", BROKEN)
async def test_what_is_no_message_is_answered(tmp_path: Path, broken: bytes) -> None:
    wire = Wire(lambda: None)
    command = (sys.executable, "-m", "codefilter_lsp")
    await wire.start(*command, environment=os.environ, stderr=tmp_path / "stderr")
    try:
        wire.send_bytes(broken)
        params: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}
        wire.asked[1] = asked = Asked("what is broken", 0.0)
        wire._next_id = 1
        await wire.call("initialize", params)
        if b"id" in broken:
            assert asked.error is not None
            assert asked.error["code"] == INVALID_REQUEST
        else:
            assert wire.strangers == 1  # it has no id
        await wire.call("shutdown", None)
        with pytest.raises(RuntimeError, match=str(INVALID_REQUEST)):
            await wire.call("workspace/executeCommand", {"command": "codefilter.status"})
        wire.notify("exit", None)
        assert await wire.ended() == 0
    finally:
        await wire.close()
    assert "Traceback" not in (tmp_path / "stderr").read_text()

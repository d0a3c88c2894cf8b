"""``python -m tests.soak.latency``: seconds from request to answer while somebody types, through the server.

In: places of Fresh, and the texts that stood there. Out: median and 95th percentile of what a person waits
for, cold (the first request of a file), warm, and without the model, with the share of every stage.

Notable: the truth is typed key by key, with a request after every key and brackets that close themselves, as
editors do it, and with the pauses that people make behind words and on new lines; in a pause the answer is
waited for. A request that the next key replaces is counted, not timed. Nothing is taken, so that every text
is typed to its end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

from codefilter import __version__
from codefilter.config import Settings
from codefilter.evaluation import limit_tasks
from codefilter.evaluation.task_sources import draw_benchmark
from codefilter.machine import machine
from codefilter.paths import write_atomically
from codefilter.types import CompletionTask, TaskLevel
from tests.soak.running import INLINE, PATIENCE_SECONDS
from tests.soak.typist import TypedDocument
from tests.soak.wire import Asked, Wire

_KEY_SECONDS = 0.18  # between two keys inside a word: about 65 words a minute
_THINK_CHANCE = 0.3  # behind a word
_LONGEST_TEXT = 90  # characters typed at one place
_CLOSED_BY = {"(": ")", "[": "]", "{": "}"}
_WAITING = "debounce, queue, protocol"


@dataclass
class Measured:
    """All requests of one run."""

    start_seconds: float = 0.0  # from the start of the server's process to its first answer
    first_tokens: int = 0
    timed: dict[str, list[tuple[float, dict[str, float]]]] = field(
        default_factory=lambda: {"cold": [], "warm": [], "without the model": []}
    )
    counts: Counter[str] = field(default_factory=Counter)
    prompt_tokens: list[int] = field(default_factory=list)


async def measure(
    places: Sequence[tuple[Path, CompletionTask]],
    settings: dict[str, object],
    minutes: float,
    folder: Path,
    rest_seconds: float = 0.0,
) -> Measured:
    """Type at all places, or until the time is over; the cursor may rest at each before the first key."""
    measured, wire = Measured(), Wire(lambda: None)
    environment = {
        **os.environ,
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_DATA_HOME": str(folder / "data"),
    }
    started = time.perf_counter()
    deadline = started + 60 * minutes
    await wire.start(
        sys.executable, "-m", "codefilter_lsp", environment=environment, stderr=folder / "stderr"
    )
    try:
        roots = dict.fromkeys(root for root, _ in places)
        params = {
            "processId": None,
            "rootUri": None,
            "workspaceFolders": [{"uri": root.as_uri(), "name": root.name} for root in roots],
            "initializationOptions": settings,
            "capabilities": {"textDocument": {"inlineCompletion": {}}},
        }
        await wire.call("initialize", params)
        wire.notify("initialized", {})
        for number, (root, task) in enumerate(places):
            if time.perf_counter() > deadline:
                break
            document = TypedDocument(
                root / task.request.path, task.request.language, task.request.prefix + task.request.suffix
            )
            wire.notify("textDocument/didOpen", document.opened())
            if number == 0:
                await _answered(_ask(wire, document, len(task.request.prefix)))
                measured.start_seconds = time.perf_counter() - started
                await asyncio.sleep(5)  # until the indexes are there
            if rest_seconds:
                wire.notify("codefilter/didRest", _place(document, len(task.request.prefix)))
                await asyncio.sleep(rest_seconds)
            await _type(wire, document, task, measured, random.Random(number))
            wire.notify("textDocument/didClose", {"textDocument": {"uri": document.uri}})
            measured.counts["places"] += 1
        await wire.stop()
    finally:
        await wire.close()
    return measured


async def _type(
    wire: Wire, document: TypedDocument, task: CompletionTask, measured: Measured, generator: random.Random
) -> None:
    start, is_cold = len(task.request.prefix), True
    text = task.target[:_LONGEST_TEXT]
    closed = ""  # brackets that the editor has put behind the cursor
    for offset, key in enumerate(text, start):
        is_typed_over = key == closed[:1]
        added = "" if is_typed_over else _CLOSED_BY.get(key, "")
        closed = added + closed[is_typed_over:]
        wire.notify("textDocument/didChange", document.replace(offset, offset + is_typed_over, key + added))
        asked = _ask(wire, document, offset + 1)
        measured.counts["requests"] += 1
        thinks = offset == start or key == "\n" or (not key.isalnum() and generator.random() < _THINK_CHANCE)
        if thinks:
            await _answered(asked)
        else:
            await asyncio.sleep(_KEY_SECONDS * generator.lognormvariate(0, 0.4))
        if asked.done is None:
            measured.counts["replaced by the next key"] += 1
            continue
        is_cold = not await _note(wire, asked, measured, is_cold) and is_cold
        if thinks:
            await asyncio.sleep(generator.uniform(0.2, 0.8))  # it is read


async def _note(wire: Wire, asked: Asked, measured: Measured, is_cold: bool) -> bool:
    """Ask what an answer was made from; whether the model was asked."""
    if asked.error is not None:
        measured.counts["replaced by the next key"] += 1
        return False
    items = asked.result["items"]
    known = [items[0]["command"]["arguments"][0]] if items else []
    params = {"command": "codefilter.explain", "arguments": [*known, {"show": False}]}
    said: dict[str, Any] = await wire.call("workspace/executeCommand", params)
    measured.counts["with a text" if items else "empty"] += 1
    if said["source"] != "model":
        measured.timed["without the model"].append((asked.seconds, {}))
        return False
    stages = said["stage_seconds"]
    rest = {_WAITING: asked.seconds - sum(stages.values())}
    measured.timed["cold" if is_cold else "warm"].append((asked.seconds, stages | rest))
    measured.prompt_tokens.append(said["prompt_tokens"])
    if "to answer in time" in said["summary"]:
        measured.counts["with chunks left out to answer in time"] += 1
    return True


def _ask(wire: Wire, document: TypedDocument, offset: int) -> Asked:
    return wire.request(INLINE, _place(document, offset) | {"context": {"triggerKind": 2}})


def _place(document: TypedDocument, offset: int) -> dict[str, Any]:
    return {"textDocument": {"uri": document.uri}, "position": document.position(offset)}


async def _answered(asked: Asked) -> None:
    await asyncio.wait_for(asked.arrived.wait(), PATIENCE_SECONDS)


def row(kind: str, timed: Sequence[tuple[float, dict[str, float]]]) -> dict[str, object]:
    """One kind of requests as figures."""
    seconds = [one for one, _ in timed]
    shares: Counter[str] = Counter()
    for _, stages in timed:
        shares.update(stages)
    whole = sum(seconds)
    percentiles = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else [*seconds] * 19
    return {
        "kind": kind,
        "requests": len(seconds),
        "median_seconds": round(percentiles[9], 4) if seconds else None,
        "p95_seconds": round(percentiles[18], 4) if seconds else None,
        "stage_share": {stage: round(value / whole, 3) for stage, value in shares.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.latency", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.5)
    parser.add_argument("--places", type=int, default=30)
    parser.add_argument("--rest", type=float, default=0.0, help="seconds at a place before the first key")
    parser.add_argument("--options", type=json.loads, default={}, help="of the server, as JSON")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    groups = draw_benchmark("fresh", None, (TaskLevel.LINE, TaskLevel.API)).groups
    drawn = [
        (group.root, task)
        for group in limit_tasks(groups, arguments.places, 0)
        for task in group.tasks
        if group.root is not None
    ]
    random.Random(0).shuffle(drawn)  # so that the time limit cuts off no package
    with tempfile.TemporaryDirectory() as folder:
        work = measure(drawn, arguments.options, arguments.minutes, Path(folder), arguments.rest)
        measured = asyncio.run(work)
    record = {
        "measured": "latency",
        "codefilter": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "model": arguments.options.get("model", Settings().model),
        "options": arguments.options,
        "benchmark": "fresh, line and api",
        "key_seconds": _KEY_SECONDS,
        "rest_seconds": arguments.rest,
        "start_seconds": round(measured.start_seconds, 2),
        "mean_prompt_tokens": round(fmean(measured.prompt_tokens or [0])),
        "counts": dict(measured.counts),
        "rows": [row(kind, timed) for kind, timed in measured.timed.items()],
    }
    text = json.dumps(record, indent=1) + "\n"
    print(text, end="")
    if arguments.out:
        write_atomically(arguments.out, text)


if __name__ == "__main__":
    main()

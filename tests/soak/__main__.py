"""``python -m tests.soak``: work with the server for hours in minutes, and say what was not as it must be.

With ``--model qwen2.5-coder-0.5b`` (300 requests or so) the real model answers, otherwise one that copies and
takes its time. Exit code 1 where something was wrong; ``--out`` writes the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from codefilter import __version__
from codefilter.machine import machine
from codefilter.paths import cache_path, write_atomically
from tests.soak.running import Plan, soak

FAKE = "fake:prompt_ms=0.02,token_ms=2"  # a prompt in 0.1 s, a line in 0.1 s


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--model", default=FAKE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key-ms", type=float, default=40.0, help="between two keys, on average")
    parser.add_argument("--out", type=Path, help="a record; other models' figures in it stay")
    arguments = parser.parse_args()
    is_fake = arguments.model.startswith("fake")
    users = {"CODEFILTER_CACHE": str(cache_path()), "CODEFILTER_MODEL": arguments.model}
    plan = Plan(
        requests=arguments.requests,
        options={"model": arguments.model} if is_fake else {},
        seed=arguments.seed,
        key_seconds=arguments.key_ms / 1000,
        environment={} if is_fake else users,
        settings_change=is_fake,
    )
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(soak(plan, Path(folder)))
    row = {
        "model": arguments.model,
        "codefilter": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "seed": arguments.seed,
        "key_ms": arguments.key_ms,
        **{
            name: dict(sorted(value.items())) if isinstance(value, Counter) else value
            for name, value in vars(figures).items()
        },
    }
    text = json.dumps(row, indent=1)
    print(text)
    if arguments.out:
        known = json.loads(arguments.out.read_text())["runs"] if arguments.out.exists() else []
        runs = [*(run for run in known if run["model"] != row["model"]), row]
        write_atomically(arguments.out, json.dumps({"runs": runs}, indent=1) + "\n")
    return 1 if figures.problems else 0


if __name__ == "__main__":
    sys.exit(main())

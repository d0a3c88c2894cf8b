"""`codefilter evaluate`: run arms on a benchmark, keep every prediction, print the table."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from codefilter import __version__
from codefilter.config import load_settings
from codefilter.errors import UsageError
from codefilter.paths import write_atomically
from codefilter.types import CompletionTask, TaskLevel

if TYPE_CHECKING:
    from codefilter.evaluation import ArmSummary

BENCHMARKS = {"fresh": "benchmark", "train": "train"}  # name → role of the packages it is made from


def evaluate_command(
    benchmark: Annotated[str, typer.Argument(help="fresh, or train (for choosing settings).")],
    out: Annotated[Path, typer.Option("--out", help="Folder for predictions and the record.")],
    arms: Annotated[
        str, typer.Option("--arms", help="FILTER[/SETTING=VALUE...], several by commas.")
    ] = "none,all",
    levels: Annotated[
        str, typer.Option("--levels", help="line, api, chunk, function; by commas.")
    ] = "line,api",
    per_repo: Annotated[int, typer.Option("--per-repo", min=1, help="Tasks per repository and level.")] = 2,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many tasks.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which tasks are drawn.")] = 0,
    model: Annotated[str | None, typer.Option("--model", help="Name or folder of the model.")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="What runs the model.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, mps.")] = None,
    write: Annotated[
        bool,
        typer.Option("--write/--likelihood-only", help="Generate, or only measure the truth's likelihood."),
    ] = True,
    config: Annotated[
        Path | None, typer.Option("--config", help="Read settings from this file only.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Complete tasks whose truth is known, with every arm, and compare. A killed run goes on where it was."""
    from codefilter.benchmarks.sampling import sample_packages
    from codefilter.evaluation import METRIC_FAMILY, evaluate, parse_arm, summarise
    from codefilter.lm.loading import load_model

    if benchmark not in BENCHMARKS:
        raise UsageError(f"unknown benchmark {benchmark!r}", hint=f"Benchmarks: {', '.join(BENCHMARKS)}.")
    overrides = {"model": model, "engine": engine, "device": device}
    settings = load_settings(None, config_file=config, overrides=overrides)
    parsed = [parse_arm(text, settings) for text in arms.split(",")]
    counts = {parse_level(name): per_repo for name in levels.split(",")}
    packages = tqdm(sample_packages(BENCHMARKS[benchmark], counts, seed), desc="tasks", unit="repository")
    repositories = _limited(list(packages), limit)
    loaded = load_model(settings.model, engine=settings.engine, device=settings.device, dtype=settings.dtype)
    total = len(parsed) * sum(len(tasks) for _, tasks in repositories)
    with tqdm(total=total, desc="evaluate", unit="completion") as bar:
        results = evaluate(repositories, parsed, loaded, out, lambda _: bar.update(), write=write)
    summaries = summarise(results, parsed)
    record = {
        "codefilter": __version__,
        "commit": _commit(),
        "benchmark": benchmark,
        "levels": levels,
        "per_repo": per_repo,
        "seed": seed,
        "tasks": len(results) // len(parsed),
        "metric_family": METRIC_FAMILY,
        "model": asdict(loaded.identity),
        "engine": loaded.description,
        "settings": asdict(settings),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "arms": [asdict(summary) for summary in summaries],
        # predictions stay in results.jsonl: they hold other people's code
        "results": [{k: v for k, v in asdict(r).items() if k != "prediction"} for r in results],
    }
    text = json.dumps(record, ensure_ascii=False, indent=1)
    write_atomically(out / "record.json", text)
    if as_json:
        print(text)
    else:
        title = f"{benchmark}: {record['tasks']} tasks, {loaded.identity.name}, {METRIC_FAMILY} metrics"
        _print(summaries, title)


def _print(summaries: Sequence[ArmSummary], title: str) -> None:
    table = Table(title=title)
    for heading in (
        "arm",
        "EM",
        "ES",
        "nats/token",
        "worse than first",
        "cross-file tokens",
        "read s",
        "write s",
    ):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for row in summaries:
        table.add_row(
            row.arm,
            "" if row.exact_match is None else f"{row.exact_match:.1f}",
            "" if row.edit_similarity is None else f"{row.edit_similarity:.1f}",
            f"{row.nats_per_token:.3f}",
            f"{100 * row.worse_than_first:.0f} %",
            f"{row.cross_file_tokens:.0f}",
            f"{row.read_seconds:.2f}",
            f"{row.write_seconds:.2f}",
        )
    Console().print(table)


def parse_level(name: str) -> TaskLevel:
    """A level by name; `UsageError` for an unknown one."""
    try:
        return TaskLevel(name)
    except ValueError:
        raise UsageError(f"unknown level {name!r}", hint=f"Levels: {', '.join(TaskLevel)}.") from None


def _limited(
    repositories: list[tuple[Path, list[CompletionTask]]], limit: int | None
) -> list[tuple[Path, list[CompletionTask]]]:
    """The first tasks of every repository in turn, `limit` in all."""
    if limit is None:
        return repositories
    order = sorted((i, r) for r, (_, tasks) in enumerate(repositories) for i in range(len(tasks)))
    kept = set(order[:limit])
    return [
        (root, [task for i, task in enumerate(tasks) if (i, r) in kept])
        for r, (root, tasks) in enumerate(repositories)
    ]


def _commit() -> str:
    """The checkout's commit; empty outside one."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return found.stdout.strip()

"""`codefilter compare`: arms against a baseline, with intervals, signs per repository, wins and losses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from codefilter.errors import UsageError

if TYPE_CHECKING:
    from codefilter.comparison import Comparison, Interval
    from codefilter.evaluation.runs import JoinedResults

_SHOWN = ("nats", "em", "es", "cross_file_tokens", "first_token_seconds")


def compare_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `evaluate` made.")],
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="The arm to hold the others against; the first one.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Metrics to show; several by repeating it.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print every metric as JSON.")] = False,
) -> None:
    """Compare arms on the tasks that they have in common; runs of shards are joined."""
    from codefilter.comparison import METRICS, compare, group_by_benchmark
    from codefilter.evaluation.runs import join_runs, read_run

    unknown = [name for name in metric or [] if name not in METRICS]
    if unknown:
        raise UsageError(f"no metric {unknown[0]!r}", hint=f"One of: {', '.join(METRICS)}.")
    comparisons: list[Comparison] = []
    for joined in join_runs([read_run(folder) for folder in runs]):
        chosen = choose_baseline(joined, baseline)
        comparisons += compare(joined.results, chosen, joined.benchmark, seed=seed)
    if as_json:
        print(json.dumps([asdict(comparison) for comparison in comparisons], indent=1))
        return
    for (benchmark, level), rows in group_by_benchmark(comparisons).items():
        _print(benchmark, level, rows, metric or _SHOWN)


def choose_baseline(joined: JoinedResults, name: str | None) -> str:
    """The arm of that label, by default the first; `UsageError` where there is none."""
    if name is not None and name not in joined.arms:
        raise UsageError(f"no arm {name!r} in {joined.benchmark}", hint=f"Arms: {', '.join(joined.arms)}.")
    return name if name is not None else joined.arms[0]


def _print(benchmark: str, level: str, rows: Sequence[Comparison], metrics: Sequence[str]) -> None:
    from codefilter.comparison import METRICS

    first = rows[0]
    heading = (
        f"{benchmark}, {level}: {first.tasks} tasks of {first.repositories} repositories, "
        f"against {first.baseline}; 95 % intervals, drawn {first.difference.method}"
    )
    table = Table(title=heading, title_justify="left")
    table.add_column("arm", overflow="fold")
    for name in metrics:
        if any(row.metric == name for row in rows):
            table.add_column(METRICS[name].unit, justify="right")
    sign = next((name for name in ("es", "nats") if any(row.metric == name for row in rows)), "nats")
    table.add_column(f"win/tie/loss ({sign})", justify="right")
    table.add_column("repositories +/−", justify="right")
    for arm in dict.fromkeys(row.arm for row in rows):
        own = {row.metric: row for row in rows if row.arm == arm}
        cells = [show(own[name], METRICS[name].decimals) for name in metrics if name in own]
        counted = own[sign]
        is_baseline = arm == counted.baseline
        table.add_row(
            arm,
            *cells,
            "" if is_baseline else f"{counted.wins}/{counted.ties}/{counted.losses}",
            "" if is_baseline else f"{counted.repositories_better}/{counted.repositories_worse}",
        )
    Console().print(table)


def show(row: Comparison, decimals: int) -> str:
    """The value, and what it is above the baseline: ``41.5 (+0.9 [−0.3, +2.2])``."""
    value = f"{row.arm_value.value:.{decimals}f}"
    return value if row.arm == row.baseline else f"{value} ({show_difference(row.difference, decimals)})"


def show_difference(interval: Interval, decimals: int) -> str:
    """``+0.9 [-0.3, +2.2]``."""
    low, high = f"{interval.low:+.{decimals}f}", f"{interval.high:+.{decimals}f}"
    return f"{interval.value:+.{decimals}f} [{low}, {high}]"

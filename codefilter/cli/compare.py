"""`codefilter compare`: arms against a baseline, with intervals, signs per repository, wins and losses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from codefilter.cli import options
from codefilter.errors import UsageError

if TYPE_CHECKING:
    from codefilter.comparison import Comparison

_SHOWN = ("nats", "em", "es", "cross_file_tokens", "first_token_seconds")


def compare_command(
    runs: options.Runs,
    baseline: options.Baseline = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Metrics to show; several by repeating it.")
    ] = None,
    seed: options.BootstrapSeed = 0,
    tests: options.Tests = 1,
    as_json: options.AsJson = False,
) -> None:
    """Compare arms on the tasks that they have in common; runs of shards are joined.

    An arm that has fewer tasks than the baseline is held against the baseline's value on the same ones.
    """
    from codefilter.comparison import METRICS, compare, confidence, group_by_benchmark
    from codefilter.evaluation.runs import join_runs, read_run

    unknown = [name for name in metric or [] if name not in METRICS]
    if unknown:
        raise UsageError(f"no metric {unknown[0]!r}", hint=f"One of: {', '.join(METRICS)}.")
    comparisons: list[Comparison] = []
    all_joined = join_runs([read_run(run) for run in runs])
    for joined in all_joined:
        chosen = joined.choose_baseline(baseline)
        comparisons += compare(joined.results, chosen, joined.benchmark, seed=seed, tests=tests)
    if as_json:
        print(json.dumps([asdict(comparison) for comparison in comparisons], indent=1))
        return
    families = {joined.benchmark: joined.metric_family for joined in all_joined}
    for (benchmark, level), rows in group_by_benchmark(comparisons).items():
        _print(
            f"{benchmark}, {families[benchmark]} metrics", level, rows, metric or _SHOWN, confidence(tests)
        )
    for notice in dict.fromkeys(notice for joined in all_joined for notice in joined.notices):
        print(notice)


def _print(
    title: str, level: str, rows: Sequence[Comparison], metrics: Sequence[str], confidence: float
) -> None:
    from codefilter.comparison import METRICS, from_baseline, fullest, other_method

    first = fullest(rows)
    print(
        f"{title}, {level}: {first.tasks} tasks of {first.repositories} repositories, against "
        f"{first.baseline}; {100 * confidence:g} % intervals drawn {first.difference.method}"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("arm", overflow="fold")
    table.add_column("metric")
    for heading in ("tasks", "value", "difference", "win/tie/loss", "repositories +/-"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in sorted(rows, key=lambda row: [other.arm for other in rows].index(row.arm)):
        if row.metric not in metrics:
            continue
        decimals = METRICS[row.metric].decimals
        cells = [row.arm, METRICS[row.metric].unit, str(row.tasks), f"{row.arm_value.value:.{decimals}f}"]
        if row.arm != row.baseline:
            difference = row.difference.show_signed(decimals) + from_baseline(row, rows)
            cells += [
                ", ".join(filter(None, (difference, other_method(row, rows)))),
                f"{row.wins}/{row.ties}/{row.losses}",
                f"{row.repositories_better}/{row.repositories_worse}",
            ]
        table.add_row(*cells)
    Console().print(table)
    print()

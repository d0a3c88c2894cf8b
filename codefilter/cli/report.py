"""`codefilter report`: one HTML file with tables, plots and every task to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codefilter.cli import options
from codefilter.paths import write_atomically

_NAME = "report.html"


def report_command(
    runs: options.Runs,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The HTML file; by default report.html in the first run, or beside a record."
        ),
    ] = None,
    baseline: options.Baseline = None,
    tasks: Annotated[int, typer.Option("--tasks", min=0, help="Tasks to look at, per benchmark.")] = 100,
    seed: options.BootstrapSeed = 0,
    tests: options.Tests = 1,
) -> None:
    """Write a page that needs no network. It shows other people's code: mind their licences.

    Of a record, tables and plots; what was written is in the run's folder only.
    """
    from codefilter.report.content import gather
    from codefilter.report.page import render

    page = render(gather(runs, baseline, tasks, seed, tests))
    if out is not None and out.is_dir():
        out /= _NAME
    path = out or (runs[0] / _NAME if runs[0].is_dir() else runs[0].with_suffix(".html"))
    write_atomically(path, page)
    print(path)

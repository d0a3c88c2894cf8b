"""`codefilter report`: one HTML file with tables, plots and every task to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codefilter.cli.options import MAX_SEED
from codefilter.paths import write_atomically


def report_command(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders that `evaluate` made, or the records in them."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The HTML file; by default report.html in the first run, or beside a record."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="The arm to hold the others against; the first one.")
    ] = None,
    tasks: Annotated[int, typer.Option("--tasks", min=0, help="Tasks to look at, per benchmark.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Of the bootstrap.")] = 0,
    tests: Annotated[
        int,
        typer.Option("--tests", min=1, help="Figures judged together: wider intervals (Bonferroni)."),
    ] = 1,
) -> None:
    """Write a page that needs no network. It shows other people's code: mind their licences.

    Of a record, tables and plots; what was written is in the run's folder only.
    """
    from codefilter.report.content import gather
    from codefilter.report.page import render

    page = render(gather(runs, baseline, tasks, seed, tests))
    path = out or (runs[0] / "report.html" if runs[0].is_dir() else runs[0].with_suffix(".html"))
    write_atomically(path, page)
    print(path)

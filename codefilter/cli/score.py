"""`codefilter score`: figures of predictions that another tool made, by the rules of one metric family."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from codefilter.benchmarks import get_benchmark
from codefilter.benchmarks.predictions import PredictionFile, References, read_predictions
from codefilter.cli import options
from codefilter.errors import SourceError, UsageError
from codefilter.metrics import FAMILIES, Scores, ScoreSummary, get_family, needs_prompt, summarize
from codefilter.types import TaskLevel


def score_command(
    file: Annotated[
        Path, typer.Argument(help="Predictions, JSON lines, in RepoCoder's, CrossCodeEval's or our form.")
    ],
    family: Annotated[str, typer.Option("--family", help=f"Metric family: {', '.join(FAMILIES)}.")],
    benchmark: Annotated[
        str | None,
        typer.Option("--benchmark", help="Where the truths are, if the predictions come without."),
    ] = None,
    data: options.BenchmarkData = None,
    level: Annotated[
        TaskLevel | None, typer.Option("--level", help="Level of predictions that do not say it.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Score a file of predictions; exit code 1 if a line of it cannot be scored."""
    score = get_family(family)
    if data is not None and benchmark is None:
        raise UsageError("--data without --benchmark", hint="Say which benchmark's files these are.")
    if not file.is_file():
        raise UsageError(f"no file {file}", hint="Check the path; it is taken from the current folder.")
    loaded = get_benchmark(benchmark).load(data) if benchmark else None
    references = References(loaded.tasks if loaded else (), level)
    read = read_predictions(
        file, references, level=level, needs_prompt=lambda task: needs_prompt(family, task)
    )
    scores: dict[str, list[Scores]] = defaultdict(list)
    for prediction in read.predictions:
        scores[prediction.task.level.value].append(score(prediction.text, prediction.task))
    summaries = {name: summarize(rows) for name, rows in sorted(scores.items())}
    if len(scores) > 1:
        summaries["all"] = summarize([one for rows in scores.values() for one in rows])
    predicted = {prediction.task.task_id for prediction in read.predictions}
    missing = sum(task.task_id not in predicted for task in references.tasks)
    if as_json:
        print(json.dumps(_to_json(family, read, summaries, missing), indent=2))
    elif summaries:
        _print(family, summaries)
    if not as_json:
        for notice in read.notices:
            print(notice, file=sys.stderr)
        for mismatch in read.malformed:
            print(mismatch, file=sys.stderr)
        if missing:
            print(f"{missing} tasks of {benchmark} have no prediction here", file=sys.stderr)
        if loaded and loaded.mismatches:
            print(f"{len(loaded.mismatches)} records of {benchmark} did not verify", file=sys.stderr)
    if not summaries:
        raise SourceError(
            f"no line of {file} can be scored",
            hint="Its form must be RepoCoder's, CrossCodeEval's or ours; --benchmark brings missing truths.",
        )
    if read.malformed:
        raise typer.Exit(1)


def _to_json(
    family: str, read: PredictionFile, summaries: dict[str, ScoreSummary], missing: int
) -> dict[str, object]:
    return {
        "family": family,
        "levels": {name: asdict(summary) for name, summary in summaries.items()},
        "num_missing": missing,
        "notices": list(read.notices),
        "malformed": [{**asdict(m), "line": m.line + 1} for m in read.malformed],
    }


def _print(family: str, summaries: dict[str, ScoreSummary]) -> None:
    table = Table("level", title=f"{family}, percent", title_justify="left", box=None, pad_edge=False)
    for heading in ("n", "EM", "ES", "Levenshtein", "identifier EM", "identifier F1"):
        table.add_column(heading, justify="right")
    for name, row in summaries.items():
        figures = (
            row.exact_match,
            row.edit_similarity,
            row.levenshtein_similarity,
            row.identifier_exact_match,
            row.identifier_f1,
        )
        table.add_row(name, str(row.num_predictions), *(f"{figure:.2f}" for figure in figures))
    Console().print(table)

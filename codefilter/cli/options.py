"""Options that several commands have, declared once: the same names, the same help, the same meaning.

In: nothing. Out: types for the parameters of commands; what their texts mean.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from codefilter.errors import UsageError
from codefilter.request import Hole, parse_place

MAX_SEED = 2**32 - 1  # what all random generators take, some of them times a million

Column = Annotated[int | None, typer.Option("--column", help="1-based column; default: end of the line.")]
HoleEnd = Annotated[
    str | None,
    typer.Option(
        "--hole-end", metavar="L:C", help="Take the code up to here out, and show it beside the completion."
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="Name or folder of the model, or remote:URL.")]
Engine = Annotated[str | None, typer.Option("--engine", help="auto, onnxruntime, openvino, torch, remote.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, mps.")]
Filter = Annotated[
    str | None, typer.Option("--filter", help="none, all, top-k:N, threshold:X, classifier, ...")
]
FilterWeights = Annotated[
    str | None,
    typer.Option(
        "--filter-weights",
        metavar="DIR",
        help="Folder with weights for the filter classifier, cross or generative.",
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        help="Where chunks stand in the prompt: auto, files-in-prefix, in-prefix, after-suffix, repository, "
        "repository-scope, left-to-right.",
    ),
]
Retriever = Annotated[
    str | None, typer.Option("--retriever", help="How chunks are found: hybrid, bm25, jaccard, definitions.")
]
PrefixTokens = Annotated[int | None, typer.Option("--prefix-tokens", help="Before the cursor.")]
SuffixTokens = Annotated[int | None, typer.Option("--suffix-tokens", help="After the cursor.")]
MaxNewTokens = Annotated[int | None, typer.Option("--max-new-tokens", help="Upper limit of the output.")]
MaxLines = Annotated[int | None, typer.Option("--max-lines", help="Lines to write; 0: until the model ends.")]
Config = Annotated[Path | None, typer.Option("--config", help="Read settings from this file only.")]
Executor = Annotated[
    str, typer.Option("--executor", help="local, or ray: on the cluster of RAY_ADDRESS or a local one.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Of the executor ray; by default one per GPU, more share them."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Resume = Annotated[
    bool, typer.Option("--resume/--no-resume", help="Go on with what the folder holds, or refuse.")
]
BenchmarkData = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Folder with the benchmark's files; default: CODEFILTER_NAME."
    ),
]
Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Folders that `evaluate` made, or the records in them."),
]
Baseline = Annotated[
    str | None, typer.Option("--baseline", help="The arm to hold the others against; the first one.")
]
Tests = Annotated[
    int,
    typer.Option("--tests", min=1, max=100, help="Figures judged together: wider intervals (Bonferroni)."),
]
BootstrapSeed = Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Of the bootstrap.")]
TasksSeed = Annotated[int, typer.Option("--seed", help="Which tasks and controls are drawn.")]


def finite(number: float | None) -> float | None:
    """Callback of an option: the number; ``nan``, which every range lets pass, is an error."""
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{number} is not a finite number")
    return number


def hole(line: int, column: int | None, hole_end: str | None, max_lines: int | None) -> Hole:
    """What is to be filled; `UsageError` for an end that is no place, or a number of lines beside it."""
    if hole_end is not None and max_lines is not None:
        raise UsageError(
            "--max-lines does not go with --hole-end",
            hint="Leave it out: as many lines are written as are taken out.",
        )
    end_line, end_column = parse_place(hole_end) if hole_end is not None else (None, None)
    return Hole(line, column, end_line, end_column)


def is_for_ray(executor: str, workers: int | None) -> bool:
    """Whether a Ray cluster works; `UsageError` for no executor, or workers of one that has none."""
    if executor not in ("local", "ray"):
        raise UsageError(f"unknown executor {executor!r}", hint="Executors: local, ray.")
    if executor == "local" and workers is not None:
        raise UsageError("the executor local has no workers", hint="Add --executor ray.")
    return executor == "ray"

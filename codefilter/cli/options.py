"""Options that several commands have, declared once: the same names, the same help, the same meaning.

In: nothing. Out: types for the parameters of commands; what a place on the command line means.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codefilter.request import Hole, parse_place

Column = Annotated[int | None, typer.Option("--column", help="1-based column; default: end of the line.")]
HoleEnd = Annotated[
    str | None,
    typer.Option(
        "--hole-end", metavar="L:C", help="Take the code up to here out, and show it beside the completion."
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="Name or folder of the model, or remote:URL.")]
Engine = Annotated[str | None, typer.Option("--engine", help="What runs the model.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, mps.")]
Filter = Annotated[
    str | None, typer.Option("--filter", help="none, all, top-k:N, threshold:X, classifier, ...")
]
FilterWeights = Annotated[
    str | None,
    typer.Option("--filter-weights", metavar="DIR", help="Of the filter classifier or generative."),
]
Layout = Annotated[str | None, typer.Option("--layout", help="Where the chunks stand in the prompt.")]
Retriever = Annotated[str | None, typer.Option("--retriever", help="How candidates are found.")]
MaxNewTokens = Annotated[int | None, typer.Option("--max-new-tokens", help="Upper limit of the output.")]
MaxLines = Annotated[int | None, typer.Option("--max-lines", help="Lines to write; 0: until the model ends.")]
Config = Annotated[Path | None, typer.Option("--config", help="Read settings from this file only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def hole(line: int, column: int | None, hole_end: str | None) -> Hole:
    """What is to be filled; `UsageError` for an end that is no place."""
    end_line, end_column = parse_place(hole_end) if hole_end is not None else (None, None)
    return Hole(line, column, end_line, end_column)

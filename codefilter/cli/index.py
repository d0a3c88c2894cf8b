"""`codefilter index`: index a repository, or bring its index up to date, and show what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from codefilter.cli import options
from codefilter.config import load_settings
from codefilter.terminal import printable

if TYPE_CHECKING:
    from codefilter.index import IndexReport


def index_command(
    repo: Annotated[Path, typer.Argument(help="The repository's folder.")] = Path(),
    scope: Annotated[
        str | None, typer.Option("--scope", metavar="SUBDIR", help="Index only this folder of it.")
    ] = None,
    chunker: Annotated[
        str | None, typer.Option("--chunker", help="How files are cut: syntax, syntax:LINES, window.")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw the saved index away first.")] = False,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Index a repository, so that completions know it. Other commands do so when they need it."""
    settings = load_settings(repo, config_file=config, overrides={"chunker": chunker})
    report = _open_with_progress(repo, scope, settings.chunker, rebuild)
    if as_json:
        print(json.dumps(to_json(report), ensure_ascii=False, indent=2))
    else:
        _print(report)


def _open_with_progress(repo: Path, scope: str | None, chunker: str, rebuild: bool) -> IndexReport:
    from codefilter.index import RepositoryIndex  # numpy and the grammars come in here, not with --help

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("indexing", total=None)
        with RepositoryIndex.open(
            repo,
            scope=scope,
            chunker=chunker,
            rebuild=rebuild,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        ) as index:
            return index.report


def to_json(report: IndexReport) -> dict[str, Any]:
    """The JSON that `--json` prints."""
    return {
        "files": report.num_files,
        "chunks": report.num_chunks,
        "lines": report.num_lines,
        "seconds": report.seconds,
        "read": report.num_read,
        "removed": report.num_removed,
        "languages": {
            name: {"files": share.num_files, "chunks": share.num_chunks, "lines": share.num_lines}
            for name, share in report.languages.items()
        },
        "syntax_errors": report.num_syntax_errors,
        "guessed_encodings": report.num_guessed_encodings,
        "skipped": {
            reason.name.lower(): {"count": count, "examples": list(report.skipped_examples.get(reason, ()))}
            for reason, count in report.skipped.items()
        },
        "rebuilt_because": report.rebuilt_because,
        "notices": list(report.notices),
    }


def _print(report: IndexReport) -> None:
    console = Console()
    console.print(
        Text.assemble(
            (f"{report.num_files:,} files, {report.num_chunks:,} chunks, {report.num_lines:,} lines", "bold"),
            f" in {report.seconds:.2f} s ({report.num_read:,} files read, {report.num_removed:,} gone)",
        )
    )
    languages = _table("language", "files", "chunks", "lines")
    for name, share in report.languages.items():
        languages.add_row(name, f"{share.num_files:,}", f"{share.num_chunks:,}", f"{share.num_lines:,}")
    console.print(languages)
    if report.skipped:
        skipped = _table("left out", "count", "for example")
        skipped.columns[2].justify = "left"
        for reason, count in sorted(report.skipped.items(), key=lambda pair: -pair[1]):
            example = next(iter(report.skipped_examples.get(reason, ())), "")
            skipped.add_row(reason.value, f"{count:,}", Text(printable(example), style="dim"))
        console.print(skipped)
    for notice in _notices(report):
        console.print(Text.assemble(("note ", "bold yellow"), notice))


def _notices(report: IndexReport) -> list[str]:
    notices = list(report.notices)
    if report.rebuilt_because:
        notices.insert(0, f"built anew, because {report.rebuilt_because}")
    if report.num_syntax_errors:
        notices.append(
            f"files with syntax errors: {report.num_syntax_errors:,} (indexed as far as they parse)"
        )
    if report.num_guessed_encodings:
        notices.append(f"files whose encoding had to be guessed: {report.num_guessed_encodings:,}")
    return notices


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position else "left", overflow="fold")
    return table

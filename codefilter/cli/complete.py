"""`codefilter complete`: complete one place of a file, and show what was used for it."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from codefilter.cli import options
from codefilter.config import Settings, load_settings
from codefilter.request import PlacedRequest, find_repository, read_request
from codefilter.terminal import printable_text
from codefilter.types import Completion, FilterDecision, Prompt

FILE_WIDTH = 140  # of lines that go to a file or a pipe
_ALONE = "no other file was looked at: the file's folder is no repository (--repo names one)"


def complete_command(
    file: Annotated[Path, typer.Argument(help="The file to complete.")],
    line: Annotated[int, typer.Option("--line", help="1-based line of the cursor.")],
    column: options.Column = None,
    hole_end: options.HoleEnd = None,
    repo: Annotated[
        Path | None, typer.Option("--repo", help="The repository's root; default: found from the file.")
    ] = None,
    model: options.Model = None,
    engine: options.Engine = None,
    device: options.Device = None,
    filter_name: options.Filter = None,
    filter_weights: options.FilterWeights = None,
    layout: options.Layout = None,
    retriever: options.Retriever = None,
    max_new_tokens: options.MaxNewTokens = None,
    max_lines: options.MaxLines = None,
    show_context: Annotated[
        bool, typer.Option("--show-context", help="Print the chunks themselves.")
    ] = False,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Complete code at a place in a file with what the repository knows."""
    hole = options.hole(line, column, hole_end, max_lines)
    root = repo if repo is not None else find_repository(Path(os.path.realpath(file)))
    overrides = {
        "model": model,
        "engine": engine,
        "device": device,
        "filter": filter_name,
        "filter_weights": filter_weights,
        "layout": layout,
        "retriever": retriever,
        "max_new_tokens": max_new_tokens,
        "max_lines": max_lines,
    }
    settings = load_settings(root, config_file=config, overrides=overrides)
    placed = read_request(
        file,
        hole,
        repository=root,
        max_new_tokens=settings.max_new_tokens,
        max_lines=settings.max_lines,
    )
    completion, setup_seconds, model_name = _complete(placed, settings)
    if as_json:
        print(
            json.dumps(to_json(placed, completion, setup_seconds, model_name), ensure_ascii=False, indent=2)
        )
    else:
        _print(placed, completion, setup_seconds, model_name, show_context)


def _complete(placed: PlacedRequest, settings: Settings) -> tuple[Completion, dict[str, float], str]:
    from codefilter.completion import Completer  # torch comes in here, not with --help
    from codefilter.index import RepositoryIndex
    from codefilter.lm.loading import load_configured_model

    started = time.perf_counter()
    model = load_configured_model(settings)
    loaded = time.perf_counter()
    root = placed.repository
    index = RepositoryIndex.open(root, chunker=settings.chunker) if root is not None else None
    opened = time.perf_counter()
    completion = Completer(index, model, settings).complete(placed.request)
    if root is None:
        completion = replace(completion, notices=(_ALONE, *completion.notices))
    setup = {"load model": loaded - started, "open index": opened - loaded}
    return completion, setup, f"{model.identity.name} ({model.description})"


def to_json(
    placed: PlacedRequest, completion: Completion, setup_seconds: dict[str, float], model_name: str
) -> dict[str, Any]:
    """The JSON that `--json` prints; lines are 1-based, ends inclusive."""
    prompt, likelihood = completion.prompt, completion.log_likelihood
    return {
        "text": completion.text,
        "truth": placed.truth,
        "finish_reason": completion.finish_reason.value,
        "model": model_name,
        "format": prompt.format,
        "layout": prompt.layout,
        "prompt_tokens": prompt.num_tokens,
        "cross_file_tokens": prompt.num_cross_file_tokens,
        # a server may not tell how likely its tokens were
        "mean_log_likelihood_nats": likelihood.mean_nats if likelihood.num_tokens else None,
        "chunks": [chunk_to_json(decision, prompt) for decision in completion.decisions],
        "seconds": {**setup_seconds, **completion.stage_seconds},
        "notices": list(completion.notices),
    }


def chunk_to_json(decision: FilterDecision, prompt: Prompt) -> dict[str, Any]:
    """A candidate and what was decided about it."""
    candidate = decision.candidate
    return {
        "path": candidate.chunk.path,
        "start_line": candidate.chunk.start_line + 1,
        "end_line": candidate.chunk.end_line,
        "symbol": candidate.chunk.symbol,
        "retriever": candidate.retriever,
        "rank": candidate.rank + 1,
        "score": candidate.score,
        "keep": decision.keep,
        "in_prompt": candidate.chunk.chunk_id in prompt.chunk_ids,
        "polarity": decision.polarity.value,
        "confidence": decision.confidence,
        "probabilities": None if decision.probabilities is None else asdict(decision.probabilities),
        "reason": prompt.reason(decision),
    }


def _print(
    placed: PlacedRequest,
    completion: Completion,
    setup_seconds: dict[str, float],
    model_name: str,
    show_context: bool,
) -> None:
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    request = placed.request
    lexer = request.language
    typed = request.prefix[request.prefix.rfind("\n") + 1 :]
    console.print(Text("completion", style="bold"))
    console.print(_code(typed + completion.text, lexer))
    if placed.truth is not None:
        same = completion.text.strip() == placed.truth.strip()
        console.print(Text("truth" + (" (the same)" if same else ""), style="bold"))
        console.print(_code(typed + placed.truth, lexer))
    _print_chunks(console, completion, lexer, show_context)
    prompt = completion.prompt
    console.print(
        Text.assemble(
            ("prompt ", "bold"),
            f"{prompt.num_tokens} tokens, {prompt.num_cross_file_tokens} of them from other files; ",
            f"layout {prompt.layout}; {model_name}",
        )
    )
    seconds = {**setup_seconds, **completion.stage_seconds}
    times = " · ".join(f"{stage} {value:.2f} s" for stage, value in seconds.items())
    console.print(Text.assemble(("time ", "bold"), times))
    for notice in completion.notices:
        console.print(Text.assemble(("note ", "bold yellow"), notice))


def _print_chunks(console: Console, completion: Completion, lexer: str, show_context: bool) -> None:
    from codefilter.filters.base import worth_showing

    if not completion.decisions:
        console.print(Text("no chunks from other files", style="dim"))
        return
    table = Table(title="chunks", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("", "place", "symbol"):
        table.add_column(heading, overflow="fold", no_wrap=console.width >= FILE_WIDTH)
    table.add_column("why")
    shown = worth_showing(completion.decisions)
    for decision in shown:
        chunk = decision.candidate.chunk
        used = chunk.chunk_id in completion.prompt.chunk_ids
        table.add_row(
            Text("kept" if used else "dropped", style="green" if used else "dim"),
            Text(chunk.place),
            Text(chunk.symbol or ""),
            Text(completion.prompt.reason(decision), style="dim"),
        )
    console.print(table)
    if more := len(completion.decisions) - len(shown):
        console.print(Text(f"and {more} others, dropped (--json has them)", style="dim"))
    if show_context:
        for decision in completion.decisions:
            chunk = decision.candidate.chunk
            if chunk.chunk_id in completion.prompt.chunk_ids:
                console.print(Text(f"── {chunk.path}:{chunk.start_line + 1}", style="bold cyan"))
                console.print(_code(chunk.text, lexer))


def _code(text: str, lexer: str) -> Syntax:
    return Syntax(printable_text(text), lexer, background_color="default", word_wrap=True)

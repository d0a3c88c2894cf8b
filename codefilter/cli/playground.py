"""`codefilter playground`: a repository in the browser, with completions and what they were made from."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from codefilter.cli import options


def playground_command(
    repo: Annotated[Path, typer.Argument(help="The repository's folder.")],
    model: options.Model = None,
    engine: options.Engine = None,
    device: options.Device = None,
    filter_name: options.Filter = None,
    latency_budget_ms: Annotated[
        int, typer.Option("--latency-budget-ms", min=0, help="To read the prompt; 0: as long as it takes.")
    ] = 0,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 0,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
) -> None:
    """Type in a browser, see ghost text, and beside it which chunks were found, kept and dropped, and why."""
    from codefilter.lm.loading import with_absolute_folder
    from codefilter.playground.monaco import monaco_folder
    from codefilter.playground.pages import Playground
    from codefilter.playground.session import Session

    if model is not None:
        model = with_absolute_folder(model)  # the server works in another folder
    chosen = {"model": model, "engine": engine, "device": device, "filter": filter_name}
    settings = {name: value for name, value in chosen.items() if value is not None}
    session = Session(repo, settings, {"latencyBudgetMs": latency_budget_ms})
    said: set[str] = set()

    def say_once(what: str, done_bytes: int, total_bytes: int) -> None:
        if what not in said:
            said.add(what)
            typer.echo(what, err=True)

    monaco = monaco_folder(say_once)
    try:
        session.start()
        with Playground(session, monaco, port) as server:
            print(f"the playground is at {server.url}", flush=True)
            typer.echo("Nothing that is typed there is saved. Ctrl-C ends it.", err=True)
            if show:
                webbrowser.open(server.url_for_once)
            server.serve_forever()
    finally:
        session.stop()

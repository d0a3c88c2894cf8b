"""`codefilter feedback`: what the editor's server has kept about completions, and how to be rid of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from codefilter.cli import options
from codefilter.errors import UsageError
from codefilter.feedback import FeedbackRecord, FeedbackStore, feedback_file, summarize

app = typer.Typer(
    name="feedback", help="What became of completions; kept on this machine only.", no_args_is_help=True
)


@app.command("show")
def show_command(
    repo: Annotated[Path | None, typer.Option("--repo", help="Only of this folder.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="So many of the newest.")] = 0,
    as_json: options.AsJson = False,
) -> None:
    """Count what is kept, and print the newest."""
    if not feedback_file().exists():
        print(json.dumps({"total": 0}) if as_json else "nothing is kept")
        return
    store = FeedbackStore()
    repository = str(repo.resolve()) if repo is not None else None
    summary = summarize(store, repository)
    newest = list(store.records(repository))[::-1][:limit]
    if as_json:
        content = asdict(summary) | {
            "acceptance_rate": summary.acceptance_rate,
            "file": str(store.path),
            "newest": [asdict(record) for record in newest],
        }
        print(json.dumps(content, ensure_ascii=False, indent=2))
        return
    counts = ", ".join(f"{count} {outcome.value}" for outcome, count in summary.outcomes.items())
    rate = "" if summary.acceptance_rate is None else f" ({summary.acceptance_rate:.0%} taken)"
    print(f"{summary.total} completions in {store.path}: {counts or 'none'}{rate}")
    for record in newest:
        when = datetime.fromtimestamp(record.time).isoformat(" ", "minutes")
        text = record.text.strip().split("\n")[0]
        print(f"{record.record_id[:12]:12}  {when}  {record.outcome.value:15}  {record.path}  {text}")


def find_record(wanted: str) -> FeedbackRecord:
    """The record whose id begins so; `UsageError` unless there is one."""
    if not feedback_file().exists():
        raise UsageError("no completions are kept", hint="Switch feedback on in the editor's settings.")
    found = [record for record in FeedbackStore().records() if record.record_id.startswith(wanted)]
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} of the completions that are kept have an id that begins with {wanted!r}",
            hint="`codefilter feedback show --limit 9` tells the newest.",
        )
    return found[0]


@app.command("path")
def path_command() -> None:
    """Print where feedback is kept."""
    print(feedback_file())


@app.command("delete")
def delete_command(
    everything: Annotated[bool, typer.Option("--all", help="Delete all of it.")] = False,
    repo: Annotated[Path | None, typer.Option("--repo", help="Only of this folder.")] = None,
    before: Annotated[
        datetime | None, typer.Option("--before", formats=["%Y-%m-%d"], help="Only from before this day.")
    ] = None,
) -> None:
    """Delete feedback for good."""
    if everything is (repo is not None or before is not None):
        raise UsageError("say what to delete", hint="--all, or --repo FOLDER and --before YYYY-MM-DD.")
    if not feedback_file().exists():
        print("nothing is kept")
        return
    store = FeedbackStore()
    count = store.delete(
        repository=str(repo.resolve()) if repo is not None else None,
        before=before.timestamp() if before is not None else None,
    )
    print(f"{count} records deleted")

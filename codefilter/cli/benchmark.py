"""`codefilter benchmark`: list benchmarks, fetch what can be fetched, verify the data, draw Fresh again."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from codefilter.benchmarks import BENCHMARKS, Benchmark, MismatchReason, get_benchmark
from codefilter.cli import options

app = typer.Typer(name="benchmark", help="List, fetch and verify benchmarks.", no_args_is_help=True)

_SHOWN_MISMATCHES = 20

_Name = Annotated[str, typer.Argument(help=f"One of: {', '.join(BENCHMARKS)}.")]


@app.command("list")
def list_command(as_json: options.AsJson = False) -> None:
    """List the known benchmarks, what of them is here, and where the rest comes from."""
    rows = [(source, source.availability()) for source in BENCHMARKS.values()]
    if as_json:
        listed = [
            {
                "name": source.name,
                "contents": source.contents,
                "levels": list(source.levels),
                "task_files": [str(path) for path in here.task_files],
                "repositories": list(here.repositories_here),
                "missing": list(here.missing),
            }
            for source, here in rows
        ]
        print(json.dumps(listed, indent=2))
        return
    table = Table("benchmark", "released", "here", box=None, pad_edge=False)
    for source, here in rows:
        files = f"{len(here.task_files)} task files"
        repositories = f", {len(here.repositories_here)} repositories" if here.repositories_here else ""
        table.add_row(source.name, source.contents, files + repositories)
    Console().print(table)
    for source, here in rows:
        for sentence in here.missing:
            print(f"{source.name}: {sentence}")


@app.command("prepare")
def prepare_command(name: _Name) -> None:
    """Fetch what can be fetched, and tell where the rest comes from."""
    source = get_benchmark(name)
    for sentence in source.prepare(_ProgressLines()):
        print(f"ready: {sentence}")
    for sentence in source.availability().missing:
        print(sentence)


@app.command("verify")
def verify_command(name: _Name, data: options.BenchmarkData = None, as_json: options.AsJson = False) -> None:
    """Check every record against the sources; exit code 1 if one does not verify."""
    source = get_benchmark(name)
    benchmark = source.load(data)
    if as_json:
        print(json.dumps(_to_json(benchmark), indent=2))
    else:
        _print(benchmark)
        if any(m.reason is MismatchReason.NO_REPOSITORY for m in benchmark.mismatches):
            print(*source.availability(data).missing, sep="\n")
    if benchmark.mismatches:
        raise typer.Exit(1)


@app.command("sample")
def sample_command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the list.")],
    seed: Annotated[int, typer.Option("--seed", help="Which tasks are drawn; 0 is data/fresh.")] = 0,
) -> None:
    """Draw the task list of Fresh from its packages; the same seed gives the same list."""
    from codefilter.benchmarks.sampling import draw_fresh

    tasks = draw_fresh(out, seed, _ProgressLines())
    print(f"{len(tasks)} tasks in {len({task.repository for task in tasks})} packages, drawn into {out}")


class _ProgressLines:
    """One line on stderr for each thing that is fetched."""

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, what: str, done_bytes: int, total_bytes: int) -> None:
        if what != self._shown:
            self._shown = what
            print(what, file=sys.stderr)


def _to_json(benchmark: Benchmark) -> dict[str, object]:
    return {
        "name": benchmark.name,
        "data_sha256": benchmark.data_sha256,
        "files": [
            {"path": str(f.path), "level": f.level, "sha256": f.sha256, "records": f.num_records}
            for f in benchmark.files
        ],
        "num_tasks": len(benchmark.tasks),
        "tasks": [
            {"level": level, "repository": repository, "tasks": count}
            for (level, repository), count in _counts(benchmark).items()
        ],
        "repositories": [
            {**asdict(repository), "root": str(repository.root) if repository.root else None}
            for repository in benchmark.repositories
        ],
        "mismatches": [{**asdict(m), "line": m.line + 1} for m in benchmark.mismatches],
        "notices": list(benchmark.notices),
    }


def _counts(benchmark: Benchmark) -> Counter[tuple[str, str]]:
    return Counter((task.level.value, task.repository) for task in benchmark.tasks)


def _print(benchmark: Benchmark) -> None:
    table = Table("level", "repository", "tasks", "repeated", "excluded files", box=None, pad_edge=False)
    repositories = {repository.name: repository for repository in benchmark.repositories}
    for (level, name), count in _counts(benchmark).items():
        repository = repositories[name]
        repeated = sum(task_id.endswith(f"/{level}") for task_id in repository.repeated_task_ids)
        table.add_row(level, name, str(count), str(repeated), str(len(repository.excluded_paths)))
    if benchmark.tasks:
        Console().print(table)
    for file in benchmark.files:
        print(f"{file.path.name}: {file.num_records} records, sha256 {file.sha256[:12]}")
    for repository in benchmark.repositories:
        for path in repository.excluded_paths:
            print(f"excluded, it holds answers: {repository.name}/{path}")
    for notice in benchmark.notices:
        print(notice)
    for mismatch in benchmark.mismatches[:_SHOWN_MISMATCHES]:
        print(mismatch)
    if len(benchmark.mismatches) > _SHOWN_MISMATCHES:
        print(f"... and {len(benchmark.mismatches) - _SHOWN_MISMATCHES} more; --json has them all")
    print(f"{len(benchmark.tasks)} tasks verified, {len(benchmark.mismatches)} records did not verify")

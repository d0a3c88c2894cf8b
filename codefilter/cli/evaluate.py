"""`codefilter evaluate`: run arms on a benchmark or a repository, keep every prediction, print the table."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from codefilter.cli import options
from codefilter.config import Settings, load_settings
from codefilter.errors import SourceError, UsageError
from codefilter.metrics import FAMILIES, METRIC_FAMILY, get_family
from codefilter.paths import exclusive, private_cache_path
from codefilter.types import TaskLevel, content_hash

if TYPE_CHECKING:
    from codefilter.benchmarks import Mismatch
    from codefilter.evaluation import Arm, ArmSummary, Executor, Outcome, TaskError, TaskGroup, TaskResult
    from codefilter.evaluation.records import RunPlan
    from codefilter.evaluation.task_sources import DrawnTasks

DEFAULT_ARMS = "none,all,classifier"
_TRAIN = "train"  # not a benchmark, but the packages of that role
_PER_REPOSITORY = 10
_LOCK = ".run"  # in the run's folder: two commands there take turns
_SHOWN = 10  # errors and mismatches; files of the run's folder have them all


def evaluate_command(
    benchmark: Annotated[
        str | None,
        typer.Argument(
            help="A benchmark (see `codefilter benchmark list`), or train, to choose settings on."
        ),
    ] = None,
    repo: Annotated[
        Path | None, typer.Option("--repo", help="Draw the tasks from this repository instead.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder of the run; an existing one is resumed. With --repo by default in the cache.",
        ),
    ] = None,
    arms: Annotated[
        str, typer.Option("--arms", help="FILTER[/SETTING=VALUE...], several by commas.")
    ] = DEFAULT_ARMS,
    levels: Annotated[
        str | None, typer.Option("--levels", help="line, api, chunk, function; by commas.")
    ] = None,
    per_repo: Annotated[
        int | None,
        typer.Option("--per-repo", min=1, help="Of train and --repo: tasks per repository and level; 10."),
    ] = None,
    repositories: Annotated[
        str | None, typer.Option("--repositories", help="Only tasks of these, by name; by commas.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many tasks.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which tasks are drawn.")] = 0,
    shard: Annotated[str, typer.Option("--shard", metavar="I/N", help="Only every N-th task.")] = "1/1",
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.0, help="Begin no task after so long; --repo: 8.")
    ] = None,
    data: options.BenchmarkData = None,
    model: options.Model = None,
    engine: options.Engine = None,
    device: options.Device = None,
    executor: options.Executor = "local",
    workers: options.Workers = None,
    write: Annotated[
        bool,
        typer.Option("--write/--likelihood-only", help="Generate, or only measure the truth's likelihood."),
    ] = True,
    family: Annotated[
        str,
        typer.Option("--family", help=f"Whose metrics: {', '.join(FAMILIES)}."),
    ] = METRIC_FAMILY,
    resume: options.Resume = True,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Complete tasks whose truth is known, with every arm. A killed run goes on where it was.

    With --repo: is my repository used, and does it help? Under ten minutes.

    Exit code 1 if a task failed or a record of the benchmark did not verify.
    """
    from codefilter.evaluation import parse_arms, parse_shard
    from codefilter.evaluation.records import begin_run

    started = time.monotonic()
    settings = load_settings(
        repo, config_file=config, overrides={"model": model, "engine": engine, "device": device}
    )
    parsed = parse_arms(arms, settings)
    number_of_shard = parse_shard(shard)
    get_family(family)  # or refuse
    chosen = [parse_level(name) for name in levels.split(",")] if levels else None
    _check(benchmark, repo, out, data, per_repo)
    on_ray = options.is_for_ray(executor, workers)
    drawn = _draw(benchmark, repo, data, chosen, per_repo, seed)
    if not resume and out is not None:
        _refuse_used(out)
    groups = _choose_tasks(drawn, repositories, limit, seed, number_of_shard)
    completing = _executor(on_ray, settings, parsed, workers, write=write, family=family)
    plan = _plan(
        drawn,
        groups,
        completing,
        settings,
        limit=limit,
        seed=seed,
        shard=shard,
        writes=write,
        family=family,
    )
    name = f"{drawn.name}-{content_hash(str(plan.same_run()))[:8]}"
    folder = out or private_cache_path("evaluations") / name
    allowed = minutes if minutes is not None else 8.0 if repo is not None else None
    deadline = started + 60 * allowed if allowed is not None else None
    waiting_since = time.monotonic()
    with exclusive(
        _LOCK, lambda: typer.echo(f"waiting for another run in {folder}", err=True), folder=folder
    ):
        if deadline is not None:
            deadline += time.monotonic() - waiting_since
        if not resume:
            _refuse_used(folder)
        plan = begin_run(plan, folder)
        ran = _run(plan, drawn, groups, completing, folder, deadline)
    if as_json:
        print(json.dumps(ran.record, indent=1))
    else:
        _say(ran, drawn, plan, folder, is_repository=repo is not None)
    if ran.outcome.errors or drawn.mismatches:
        raise typer.Exit(1)


def _refuse_used(folder: Path) -> None:
    if folder.is_dir() and any(path.name != f"{_LOCK}.lock" for path in folder.iterdir()):
        raise UsageError(
            f"{folder} is not empty", hint="Give another --out folder, or leave out --no-resume."
        )


@dataclass(frozen=True)
class _Ran:
    """What came of a run."""

    outcome: Outcome  # of this attempt
    results: Sequence[TaskResult]  # of all attempts in the folder
    summaries: Sequence[ArmSummary]
    record: dict[str, Any]


def _check(
    benchmark: str | None, repo: Path | None, out: Path | None, data: Path | None, per_repository: int | None
) -> None:
    if (benchmark is None) == (repo is None):
        raise UsageError(
            "name a benchmark, or a repository with --repo",
            hint="For example: codefilter evaluate fresh --out runs/first",
        )
    if out is None and repo is None:
        raise UsageError("--out is missing", hint="Predictions and the record go there.")
    is_drawn = benchmark in (None, _TRAIN)
    if data is not None and is_drawn:
        raise UsageError("--data is of benchmarks only", hint="Leave it out.")
    if per_repository is not None and not is_drawn:
        raise UsageError(
            "--per-repo is of train and --repo only", hint="--limit draws some of a benchmark's tasks."
        )


def _draw(
    benchmark: str | None,
    repo: Path | None,
    data: Path | None,
    levels: Sequence[TaskLevel] | None,
    per_repository: int | None,
    seed: int,
) -> DrawnTasks:
    from codefilter.evaluation.task_sources import (
        SAMPLED_LEVELS,
        draw_benchmark,
        draw_packages,
        draw_repository,
    )

    count = per_repository or _PER_REPOSITORY
    if repo is not None:
        return draw_repository(repo, levels or SAMPLED_LEVELS, count, seed)
    if benchmark == _TRAIN:
        return draw_packages(benchmark, levels or SAMPLED_LEVELS, count, seed)
    return draw_benchmark(benchmark or "", data, levels)


def _choose_tasks(
    drawn: DrawnTasks, repositories: str | None, limit: int | None, seed: int, shard: tuple[int, int]
) -> list[TaskGroup]:
    """The tasks of this run; `SourceError` where there are none."""
    from codefilter.evaluation import limit_tasks, only_repositories, shard_tasks

    _say_mismatches(drawn.mismatches)
    names = [name.strip() for name in repositories.split(",")] if repositories else []
    chosen = only_repositories(drawn.groups, names) if names else drawn.groups
    groups = shard_tasks(limit_tasks(chosen, limit, seed), *shard)
    if not any(group.tasks for group in groups):
        raise SourceError(
            f"{drawn.name} has no task here",
            hint=" ".join(drawn.missing) or "Choose other levels, or another shard.",
        )
    return groups


def _executor(
    on_ray: bool,
    settings: Settings,
    arms: Sequence[Arm],
    workers: int | None,
    *,
    write: bool,
    family: str,
) -> Executor:
    if on_ray:
        from codefilter.evaluation.ray_executor import RayExecutor

        return RayExecutor(settings, arms, workers=workers, write=write, family=family)
    from codefilter.evaluation import LocalExecutor
    from codefilter.lm.loading import load_configured_model

    model = load_configured_model(settings)
    return LocalExecutor(model, arms, write=write, family=family)


def _plan(
    drawn: DrawnTasks,
    groups: Sequence[TaskGroup],
    executor: Executor,
    settings: Settings,
    *,
    limit: int | None,
    seed: int,
    shard: str,
    writes: bool,
    family: str,
) -> RunPlan:
    from codefilter.evaluation.records import RunPlan
    from codefilter.machine import commit, machine

    tasks = [task for group in groups for task in group.tasks]
    return RunPlan(
        benchmark=drawn.name,
        data_sha256=drawn.data_sha256,
        levels=",".join(dict.fromkeys(task.level.value for task in tasks)),
        limit=limit,
        seed=seed,
        shard=shard,
        tasks=len(tasks),
        arms=tuple(arm.name for arm in executor.arms),
        writes=writes,
        metric_family=family,
        model=executor.identity,
        engine=executor.description,
        settings=settings,
        commit=commit(),
        machine=machine(),
        weights_sha256={arm.name: arm.weights_sha256 for arm in executor.arms if arm.weights_sha256},
        num_candidates={arm.name: arm.num_candidates for arm in executor.arms},
        repositories_sha256={group.name: group.content_sha256 for group in groups if group.content_sha256},
        notices=drawn.notices,
    )


def _run(
    plan: RunPlan,
    drawn: DrawnTasks,
    groups: Sequence[TaskGroup],
    executor: Executor,
    folder: Path,
    deadline: float | None,
) -> _Ran:
    """Complete all tasks with all arms, and write what came of it, and was there before, into the folder."""
    from codefilter.comparison import compare
    from codefilter.evaluation import evaluate, summarise
    from codefilter.evaluation.exporting import export_predictions
    from codefilter.evaluation.records import write_record
    from codefilter.evaluation.storage import read_errors, read_in_order, read_results, write_mismatches

    write_mismatches(drawn.mismatches, folder)
    wanted = {(task.task_id, arm.name) for group in groups for task in group.tasks for arm in executor.arms}
    done = sum((result.task_id, result.arm) in wanted for result in read_results(folder))
    with tqdm(total=len(wanted), initial=done, desc="evaluate", unit="completion") as bar:
        outcome = evaluate(groups, executor, folder, lambda _: bar.update(), deadline=deadline)
    tasks = [task for group in drawn.groups for task in group.tasks]
    results = read_in_order(folder, [task.task_id for task in tasks], plan.arms)
    summaries = summarise(results, plan.arms)
    export_predictions(results, tasks, folder, plan.metric_family)
    compared = compare(results, plan.arms[0], drawn.name)
    repeated = {task_id for group in drawn.groups for task_id in group.repeated_task_ids}
    record = write_record(
        plan,
        folder,
        summaries,
        results,
        repeated_tasks=sorted(repeated.intersection(result.task_id for result in results)),
        comparisons=[asdict(one) for one in compared if one.arm != plan.arms[0]],
        errors=[asdict(error) for error in read_errors(folder)],
        mismatches=len(drawn.mismatches),
        not_done=outcome.num_left,
    )
    return _Ran(outcome, results, summaries, record)


def _say(ran: _Ran, drawn: DrawnTasks, plan: RunPlan, folder: Path, *, is_repository: bool) -> None:
    """Tell a person what came of a run."""
    title = f"{drawn.name}: {ran.record['tasks']} tasks, {plan.model.name}, {plan.metric_family} metrics"
    _print(ran.summaries, title)
    _say_outcome(ran.outcome.errors, ran.outcome.num_left, plan.notices, folder)
    if is_repository:
        _say_verdicts(ran.results, plan.arms)
    print(f"Look at it: codefilter report {folder}")


def _print(summaries: Sequence[ArmSummary], title: str) -> None:
    table = Table(title=title, box=None, pad_edge=False)
    some_empty = any(row.abstained for row in summaries)
    for heading in (
        "arm",
        "tasks",
        "EM",
        "ES",
        "nats / token",
        "worse",
        "cross-file",
        "no chunk",
        *(["empty"] if some_empty else []),
        "first token s",
        "write s",
    ):
        table.add_column(heading, justify="left" if heading == "arm" else "right", overflow="fold")
    for row in summaries:
        table.add_row(
            row.arm,
            str(row.tasks),
            _figure(row.exact_match, 1),
            _figure(row.edit_similarity, 1),
            f"{row.nats_per_token:.3f}",
            "" if row.worse_than_first is None else f"{100 * row.worse_than_first:.0f} %",
            f"{row.cross_file_tokens:.0f}",
            f"{row.kept_nothing:.0f} %",
            *([f"{row.abstained or 0:.0f} %"] if some_empty else []),
            _figure(row.first_token_seconds, 2),
            _figure(row.write_seconds, 2),
        )
    Console().print(table)


def _figure(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _say_verdicts(results: Sequence[TaskResult], arms: Sequence[str]) -> None:
    from codefilter.verdict import judge, sentences

    present = {result.arm for result in results}
    for arm in arms[1:]:
        if {arm, arms[0]} <= present:
            print(*sentences(judge(results, arm, arms[0])), sep="\n")


def _say_mismatches(mismatches: Sequence[Mismatch]) -> None:
    for mismatch in mismatches[:_SHOWN]:
        typer.echo(str(mismatch), err=True)
    if mismatches:
        typer.echo(f"{len(mismatches)} records did not verify and are not run", err=True)


def _say_outcome(errors: Sequence[TaskError], num_left: int, notices: Sequence[str], folder: Path) -> None:
    for notice in notices:
        print(notice)
    for error in errors[:_SHOWN]:
        typer.echo(f"failed: {error.task_id} under {error.arm}: {error.error}: {error.message}", err=True)
    if errors:
        typer.echo(f"{len(errors)} completions failed ({folder / 'errors.jsonl'})", err=True)
    if num_left:
        print(f"{num_left} completions were left out for the time; the same command goes on with them")


def parse_level(name: str) -> TaskLevel:
    """A level by name; `UsageError` for an unknown one."""
    try:
        return TaskLevel(name)
    except ValueError:
        raise UsageError(f"unknown level {name!r}", hint=f"Levels: {', '.join(TaskLevel)}.") from None

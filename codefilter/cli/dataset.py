"""`codefilter dataset`: build a labelled dataset from repositories, look at it, rebuild its text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from codefilter import __version__
from codefilter.cli import labels, options
from codefilter.cli.evaluate import parse_level
from codefilter.cli.from_feedback import from_feedback_command
from codefilter.cli.options import finite
from codefilter.config import Settings, load_settings, whole_number
from codefilter.errors import UsageError
from codefilter.paths import exclusive, write_atomically

if TYPE_CHECKING:
    from codefilter.dataset.build import Progress
    from codefilter.dataset.execution import Executor
    from codefilter.labeling import LabelOptions
    from codefilter.types import TaskLevel

app = typer.Typer(name="dataset", help="Label tasks of repositories; look at labels.", no_args_is_help=True)
app.command("from-feedback")(from_feedback_command)
app.command("stats")(labels.stats_command)
app.command("show")(labels.show_command)
app.command("materialize")(labels.materialize_command)
app.command("split")(labels.split_command)
app.command("validate")(labels.validate_command)
app.command("duplicates")(labels.duplicates_command)
app.command("compare")(labels.compare_command)
app.command("coalitions")(labels.coalitions_command)


@app.command("build")
def build_command(
    out: Annotated[Path, typer.Option("--out", help="Folder of the dataset; an old one grows.")],
    repos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REPO]...", help="Folders or packages of the manifest; none: all train packages."
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="Packages of your own, like data/manifests/corpora.toml."),
    ] = None,
    levels: Annotated[
        str, typer.Option("--levels", help="LEVEL or LEVEL=TASKS in every round of a repository; by commas.")
    ] = "line,api,chunk,function",
    per_repo: Annotated[
        int, typer.Option("--per-repo", min=1, help="Tasks per repository, up to whole rounds.")
    ] = 10,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many tasks now.")] = None,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", min=0.0, callback=finite, metavar="MINUTES", help="Stop after so long."),
    ] = None,
    controls: Annotated[int, typer.Option("--controls", min=3, help="Control chunks per task.")] = 3,
    thresholds: Annotated[
        tuple[float, float], typer.Option("--thresholds", help="T_n and T_p, corrected nats per token.")
    ] = (-0.2, 0.2),
    seed: options.TasksSeed = 0,
    model: options.Model = None,
    engine: options.Engine = None,
    device: options.Device = None,
    layout: options.Layout = None,
    retriever: options.Retriever = None,
    candidates: Annotated[int | None, typer.Option("--k", min=1, help="Candidates per task.")] = None,
    prefix_tokens: options.PrefixTokens = None,
    suffix_tokens: options.SuffixTokens = None,
    chunk_order: Annotated[str | None, typer.Option("--chunk-order", help="Of all chunks together.")] = None,
    executor: options.Executor = "local",
    workers: options.Workers = None,
    states: Annotated[
        bool,
        typer.Option(
            "--states", help="Keep the model's hidden states too: 55 kB per example, in the folder states."
        ),
    ] = False,
    resume: options.Resume = True,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Label tasks of repositories. Killed at any moment, the same command goes on where it was."""
    from codefilter.dataset.build import ROUND, BuildPlan, build_dataset
    from codefilter.dataset.description import read_description
    from codefilter.dataset.sources import find_sources
    from codefilter.dataset.storage import DatasetFolder, lock_name, refuse_existing
    from codefilter.labeling import LABEL_DEFAULTS, LabelOptions

    overrides = {
        "model": model,
        "engine": engine,
        "device": device,
        "layout": layout,
        "retriever": retriever,
        "num_candidates": candidates,
        "prefix_tokens": prefix_tokens,
        "suffix_tokens": suffix_tokens,
        "chunk_order": chunk_order,
    }
    settings = load_settings(None, config_file=config, overrides=overrides, defaults=LABEL_DEFAULTS)
    on_ray = options.is_for_ray(executor, workers)
    if not -math.inf < thresholds[0] <= thresholds[1] < math.inf:
        raise UsageError(
            "T_n is above T_p, or one of them is no number", hint="For example: --thresholds -0.2 0.2"
        )
    label_options = LabelOptions(
        num_controls=controls, negative_threshold=thresholds[0], positive_threshold=thresholds[1], seed=seed
    )
    plan = BuildPlan(
        per_repository=per_repo,
        tasks_per_round=dict(_share(text, ROUND) for text in levels.split(",")),
        max_examples=limit,
        time_limit_seconds=None if time_limit is None else 60 * time_limit,
    )
    sources = find_sources(repos or [], manifest)
    if not resume:
        refuse_existing(out)
    with exclusive(
        lock_name(out), on_wait=lambda: typer.echo(f"waiting for another build of {out}", err=True)
    ):
        before = read_description(out)
        labelling = _executor(on_ray, settings, label_options, workers, keep_states=states)
        labels.warn_of_other_engines(out, labelling.description)
        folder = DatasetFolder(out, keep_states=states)
        with tqdm(desc="label", unit="task") as bar:
            description = build_dataset(sources, folder, labelling, plan, lambda p: _show(bar, p))
    if as_json:
        print(json.dumps(asdict(description), ensure_ascii=False, indent=1))
        return
    for source in description.sources:
        if source.problem:
            print(f"skipped {source.name}: {source.problem}")
    if description.skipped:
        print(f"{len(description.skipped)} tasks skipped; dataset.json says why")
    runs = description.runs[len(before.runs) if before else 0 :]
    for run in runs:
        print(
            f"{run.examples} examples in {run.seconds / 60:.1f} minutes; see: codefilter dataset stats {out}"
        )
    if not runs:
        print("nothing new was labelled; name more repositories, a larger --per-repo or --time-limit")


@app.command("choose")
def choose_command(
    arms: Annotated[
        str, typer.Option("--arms", help="default, or SETTING=VALUE/SETTING=VALUE; several by commas.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the arms' labels.")],
    repos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REPO]...", help="Folders or packages of the manifest; none: all train packages."
        ),
    ] = None,
    tasks: Annotated[int, typer.Option("--tasks", min=1, help="Tasks, the same for every arm.")] = 60,
    seed: options.TasksSeed = 0,
    model: options.Model = None,
    engine: options.Engine = None,
    device: options.Device = None,
    record: Annotated[Path | None, typer.Option("--record", help="Write the figures to this file.")] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--compare-only", help="Label what is missing, or only compare.")
    ] = True,
    config: options.Config = None,
) -> None:
    """Compare prompt settings by the labels they give: signal to noise, nats and seconds."""
    from codefilter.dataset.choose import arm_folder, compare_arms, parse_label_arms, run_arms
    from codefilter.dataset.description import require_description
    from codefilter.dataset.sources import find_sources
    from codefilter.dataset.stats import percent
    from codefilter.dataset.storage import lock_name
    from codefilter.evaluation import Arm
    from codefilter.labeling import LABEL_DEFAULTS, LabelOptions
    from codefilter.lm.loading import load_configured_model
    from codefilter.machine import machine

    overrides = {"model": model, "engine": engine, "device": device}
    settings = load_settings(None, config_file=config, overrides=overrides, defaults=LABEL_DEFAULTS)
    label_options = LabelOptions(seed=seed)
    parsed = parse_label_arms(arms, settings)
    if measure:
        loaded = load_configured_model(settings)

        def bar_of(arm: Arm) -> Callable[[Progress], None]:
            labels.warn_of_other_engines(arm_folder(out, arm), loaded.description)
            bar = tqdm(desc=arm.name, unit="task")
            return lambda progress: _show(bar, progress)

        with exclusive(lock_name(out), on_wait=lambda: typer.echo(f"waiting: {out} is at work", err=True)):
            run_arms(parsed, find_sources(repos or []), out, loaded, label_options, tasks, bar_of)
    figures, pairs = compare_arms(parsed, out, label_options)
    if record is not None:
        made = [require_description(arm_folder(out, arm)) for arm in parsed]
        content = {
            "codefilter": __version__,
            "seed": seed,
            "options": asdict(label_options),
            "machine": machine(),
            "arms": [
                asdict(f)
                | {"settings": asdict(a.settings), "model": asdict(d.recipe.model), "engines": d.engines}
                for f, a, d in zip(figures, parsed, made, strict=True)
            ],
            "pairs": [asdict(pair) for pair in pairs],
        }
        write_atomically(record, json.dumps(content, indent=1) + "\n")
    table = Table(title=f"{figures[0].examples} tasks, the same for every arm", box=None, pad_edge=False)
    for heading in (
        "arm",
        "signal/noise",
        "> T_p",
        "control > T_p",
        "none",
        "all that fit",
        "best",
        "tokens",
        "s/task",
    ):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for row in figures:
        table.add_row(
            row.name,
            f"{row.signal_to_noise:.2f}",
            percent(row.positive),
            percent(row.control_positive),
            f"{row.nats_none:.2f}",
            f"{row.nats_all:.2f}",
            f"{row.nats_best_or_none:.2f}",
            f"{row.prompt_tokens_one_chunk:.0f}",
            f"{row.seconds_per_task:.1f}",
        )
    Console().print(table)
    for pair in pairs:
        print(
            f"{pair.first} and {pair.second}: correlation within tasks {pair.correlation_within_task:.2f}, "
            f"signal/noise of their mean {pair.mean_signal_to_noise:.2f}"
        )


def _share(text: str, default: Mapping[TaskLevel, int]) -> tuple[TaskLevel, int]:
    """``line`` or ``line=2`` → the level and its tasks in every round."""
    name, equals, count = text.partition("=")
    level = parse_level(name)
    tasks = whole_number(count) if equals else default[level]
    if tasks is None or tasks < 1:
        raise UsageError(f"{text!r} is no number of tasks", hint="Write LEVEL=TASKS, for example line=2.")
    return level, tasks


def _executor(
    on_ray: bool, settings: Settings, label_options: LabelOptions, workers: int | None, *, keep_states: bool
) -> Executor:
    if on_ray:
        from codefilter.dataset.ray_executor import RayExecutor

        return RayExecutor(settings, label_options, workers=workers, keep_states=keep_states)
    from codefilter.dataset.execution import LocalExecutor
    from codefilter.lm.loading import load_configured_model

    model = load_configured_model(settings)
    return LocalExecutor(model, settings, label_options, keep_states=keep_states)


def _show(bar: tqdm[None], progress: Progress) -> None:
    """One line: tasks done of all, tasks per minute and the time left by the mean so far."""
    bar.total = progress.labelled + progress.remaining
    bar.n = progress.labelled
    rate = 60 * progress.labelled / progress.seconds if progress.seconds and progress.labelled else 0.0
    left = f"{progress.remaining / rate:.0f} min left" if rate else "time left not known yet"
    bar.set_postfix_str(f"{rate:.1f} tasks/min, {left}, {progress.repository}")

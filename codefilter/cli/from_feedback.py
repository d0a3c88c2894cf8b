"""`codefilter dataset from-feedback`: label the places where a person took or refused completions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from codefilter.cli import labels, options
from codefilter.config import load_settings
from codefilter.errors import UsageError
from codefilter.feedback import FeedbackStore
from codefilter.paths import exclusive


def from_feedback_command(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Folder of the dataset; an old one grows while the files that it names stay as they are.",
        ),
    ],
    repos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[REPO]...", help="Folders; none: all that feedback knows."),
    ] = None,
    control_repos: Annotated[
        list[str] | None,
        typer.Option("--control-repo", help="Folder or package that gives control chunks only; repeatable."),
    ] = None,
    model: options.Model = None,
    engine: options.Engine = None,
    device: options.Device = None,
    prefix_tokens: options.PrefixTokens = None,
    suffix_tokens: options.SuffixTokens = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Label what you accepted, or wrote instead, for training the filter on your own habits."""
    from codefilter.dataset.build import build_dataset
    from codefilter.dataset.description import read_description
    from codefilter.dataset.execution import LocalExecutor
    from codefilter.dataset.from_feedback import FeedbackPlan
    from codefilter.dataset.sources import find_sources
    from codefilter.dataset.storage import DatasetFolder, lock_name, num_examples
    from codefilter.labeling import LABEL_DEFAULTS, LabelOptions
    from codefilter.lm.loading import load_configured_model

    wanted = {str(repo.resolve()) for repo in repos or []}
    store = FeedbackStore()
    records = tuple(r for r in store.records() if not wanted or r.repository in wanted)
    store.close()
    folders = sorted({r.repository for r in records if Path(r.repository).is_dir() and r.repository})
    if not folders:
        raise UsageError(
            "there is no feedback for these repositories",
            hint="See what there is with: codefilter feedback show",
        )
    sources = find_sources([*folders, *(control_repos or [])])
    if len(sources) < 2:
        raise UsageError(
            "labels need controls: chunks of another repository",
            hint="Name a folder or a package of the manifest with --control-repo.",
        )
    overrides = {
        "model": model,
        "engine": engine,
        "device": device,
        "prefix_tokens": prefix_tokens,
        "suffix_tokens": suffix_tokens,
    }
    settings = load_settings(None, config_file=config, overrides=overrides, defaults=LABEL_DEFAULTS)
    loaded = load_configured_model(settings)
    waiting = f"waiting for another build of {out}"
    with (
        exclusive(lock_name(out), on_wait=lambda: typer.echo(waiting, err=True)),
        tqdm(desc="label", unit="task") as bar,
    ):
        before = read_description(out)
        labels.warn_of_other_engines(out, loaded.description)
        description = build_dataset(
            sources,
            DatasetFolder(out),
            LocalExecutor(loaded, settings, LabelOptions()),
            FeedbackPlan(records=records),
            lambda progress: bar.update(progress.labelled - bar.n),
        )
    if as_json:
        print(json.dumps(asdict(description), ensure_ascii=False, indent=1))
        return
    for source in description.sources:
        if source.problem:
            print(f"skipped {source.name}: {source.problem}")
    runs = description.runs[len(before.runs) if before else 0 :]
    labelled = sum(run.examples for run in runs)
    print(
        f"{labelled} of {len(records)} completions, which still stand where they were, are newly labelled; "
        f"{out} holds {num_examples(out)} examples"
    )

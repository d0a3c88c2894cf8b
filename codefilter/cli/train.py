"""`codefilter train`: labels → the weights of a filter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from codefilter.cli import options
from codefilter.cli.labels import load_tokenizer_of
from codefilter.cli.options import MAX_SEED, finite
from codefilter.cli.train_generative import RECORD_FILE, generative_command
from codefilter.errors import UsageError
from codefilter.paths import exclusive, private_cache_path, write_atomically
from codefilter.types import content_hash

if TYPE_CHECKING:
    from codefilter.dataset.build import OnProgress, Progress
    from codefilter.training.adapting import AdaptingRecord
    from codefilter.training.classifier import TrainingRecord

app = typer.Typer(name="train", help="Train a filter on impact labels.", no_args_is_help=True)
app.command("generative")(generative_command)
_ONLY_WITH = {
    "--data": ("sources", "html", "max_tokens_share", "keep_from", "networks"),
    "--repo": ("tasks", "control_repos", "filter_weights"),
}
_CONTROL_PACKAGE = "amebo==0.9.6"  # gives control chunks where nobody names a repository; no folder's name


@app.callback()
def train() -> None:
    """Train a filter on impact labels."""


@app.command("classifier")
def classifier_command(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Folder of the filter.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of a dataset; `dataset split` divides it.")
    ] = None,
    repo: Annotated[
        Path | None, typer.Option("--repo", help="Or: label this repository, and adapt the filter to it.")
    ] = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option("--source", help="With --data: folder that labels were made from, if no package."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="With --data: write a page with pictures.")
    ] = None,
    max_tokens_share: Annotated[
        float,
        typer.Option(
            "--max-tokens-share",
            min=0.0,
            max=1.0,
            callback=finite,
            help="With --data: largest share of the candidates' tokens that the threshold may keep.",
        ),
    ] = 0.2,
    keep_from: Annotated[
        float | None,
        typer.Option(
            "--keep-from",
            min=0.0,
            max=1.0,
            callback=finite,
            help="With --data: a threshold that was chosen otherwise.",
        ),
    ] = None,
    networks: Annotated[
        int, typer.Option("--networks", min=1, help="With --data: number of networks in the ensemble.")
    ] = 8,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MAX_SEED, help="Random seed for weights and data order.")
    ] = 0,
    tasks: Annotated[
        int, typer.Option("--tasks", min=1, help="With --repo: places to label, rounded up to tens.")
    ] = 60,
    control_repos: Annotated[
        list[str] | None,
        typer.Option("--control-repo", help="With --repo: folder or package for control chunks; repeatable."),
    ] = None,
    filter_weights: Annotated[
        str | None, typer.Option("--filter-weights", metavar="DIR", help="With --repo: what to adapt.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="With --repo: what labels. With --data: the labels' model, where its name does not find it.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Train `classifier`, which judges texts without a model, and `cross`, which has a model read besides.

    With --data, every figure is of repositories that the judging networks did not see; a killed run keeps the
    copy gains that it computed. With --repo, the filter goes on learning from your own code, is compared with
    what it was on files held back, and you are told whether to use it; one that is not significantly better
    is written below --out, and replaces nothing.
    """
    if (data is None) == (repo is None):
        raise UsageError(
            "name a dataset with --data, or a repository with --repo", hint="For example: --repo ."
        )
    _refuse_options_of("--repo" if data is not None else "--data", context)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file", hint="Name a folder after --out.")
    with exclusive(f"train-{content_hash(str(out.resolve()))[:16]}"):
        if data is not None:
            trained = _train(
                data, out, sources or [], model, html, max_tokens_share, keep_from, networks, seed
            )
            print(json.dumps(asdict(trained), indent=1)) if as_json else _print(trained, out)
        if repo is not None:
            adapted = _adapt(repo, out, tasks, control_repos or [], filter_weights, model, seed)
            print(json.dumps(asdict(adapted), indent=1)) if as_json else _print_adapted(adapted)


def _refuse_options_of(way: str, context: typer.Context) -> None:
    """`UsageError` for a given option that counts only with the other way."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name in _ONLY_WITH[way] and source is not None and source.name != "DEFAULT":
            raise UsageError(f"{option.opts[0]} goes with {way} only", hint="Leave it out.")


def _train(
    data: Path,
    out: Path,
    folders: Sequence[Path],
    model: str | None,
    html: Path | None,
    max_tokens_share: float,
    keep_from: float | None,
    networks: int,
    seed: int,
) -> TrainingRecord:
    from codefilter.dataset.description import require_description
    from codefilter.dataset.records import repositories_of
    from codefilter.dataset.sources import find_roots, sources_of
    from codefilter.dataset.storage import read_examples
    from codefilter.plots import new_figure
    from codefilter.training.card import CARD_FILE, card, refuse_other_readme
    from codefilter.training.classifier import train_classifier
    from codefilter.training.fitting import FitOptions
    from codefilter.training.pages import training_page

    refuse_other_readme(out)
    if html is not None:
        new_figure()  # what draws is installed
    description = require_description(data)
    tokenizer = load_tokenizer_of(data, description.recipe, model)
    unlabelled = {source.name for source in description.sources if not source.problem}  # they give copy gains
    needed = repositories_of(read_examples(data)) | unlabelled
    roots = find_roots(description, [str(folder) for folder in folders], needed)
    with tqdm(bar_format="{desc} ({elapsed})") as bar:
        record, judged = train_classifier(
            data,
            sources_of(description, [str(folder) for folder in folders], roots),
            roots,
            tokenizer,
            out,
            replace(FitOptions(), num_networks=networks, seed=seed),
            max_tokens_share=max_tokens_share,
            keep_from=keep_from,
            progress=bar.set_description,
        )
    write_atomically(out / RECORD_FILE, json.dumps(asdict(record), indent=1) + "\n")
    write_atomically(out / CARD_FILE, card(record))
    if html is not None:
        write_atomically(html, training_page(record, judged))
    return record


def _adapt(
    repo: Path,
    out: Path,
    tasks: int,
    control_repos: Sequence[str],
    filter_weights: str | None,
    model: str | None,
    seed: int,
) -> AdaptingRecord:
    from codefilter.config import load_settings
    from codefilter.dataset.build import ROUND, build_dataset
    from codefilter.dataset.execution import LocalExecutor
    from codefilter.dataset.sources import find_roots, find_sources
    from codefilter.dataset.storage import DatasetFolder, lock_name
    from codefilter.filters.trained import filter_folder, load_trained
    from codefilter.labeling import LABEL_DEFAULTS, LabelOptions
    from codefilter.lm.loading import load_configured_model
    from codefilter.source.ignoring import IGNORE_FILES
    from codefilter.training.adapting import OwnPlan, adapt_classifier
    from codefilter.training.card import remove_card
    from codefilter.training.examples import text_sha256
    from codefilter.training.fitting import FitOptions

    overrides = {"model": model, "filter_weights": filter_weights}
    settings = load_settings(None, overrides=overrides, defaults=LABEL_DEFAULTS)
    trained = load_trained(filter_folder(settings.filter_weights))
    manifest = trained.manifest
    settings = replace(
        settings,
        layout=manifest.layout,
        retriever=manifest.retriever,
        chunker=manifest.chunker,
        prefix_tokens=manifest.prefix_tokens,
        suffix_tokens=manifest.suffix_tokens,
    )
    if not repo.is_dir():
        raise UsageError(f"no folder {repo}", hint="Check the path after --repo.")
    if repo.resolve() in out.resolve().parents and not (out.exists() and any(out.iterdir())):
        write_atomically(out / IGNORE_FILES[-1], "*\n")  # else the filter would be source text the next time
    sources = find_sources([str(repo), *(control_repos or [_CONTROL_PACKAGE])])
    name = sources[0].name
    plan = OwnPlan(per_repository=tasks, tasks_per_round=ROUND, own=name)
    places = plan.rounds * plan.round_tasks
    typer.echo(f"labelling {places} places of {name}", err=True)
    loaded = load_configured_model(settings)
    options = LabelOptions(
        positive_threshold=manifest.positive_level, negative_threshold=manifest.negative_level, seed=seed
    )
    texts = [text_sha256(source) for source in sources]  # not the version: a commit need not change a text
    recipe = (str(repo.resolve()), texts, loaded.identity.sha256, asdict(options), asdict(settings))
    labels = private_cache_path("labels") / f"{name}-{content_hash(repr(recipe))[:12]}"
    with (
        exclusive(
            lock_name(labels), on_wait=lambda: typer.echo(f"waiting for another build of {labels}", err=True)
        ),
        tqdm(desc="label", unit="task", total=places) as bar,
    ):
        description = build_dataset(
            sources,
            DatasetFolder(labels),
            LocalExecutor(loaded, settings, options),
            plan,
            _show_on(bar, places),
        )
    own = next(source for source in description.sources if source.name == name)
    if own.problem:
        raise UsageError(f"{repo} cannot be labelled: {own.problem}", hint="Name a larger repository.")
    roots = find_roots(description, [str(source.folder) for source in sources if source.folder is not None])
    record = adapt_classifier(
        labels, plan, settings, roots, loaded.tokenizer, trained, out, replace(FitOptions(), seed=seed)
    )
    remove_card(Path(record.folder))
    write_atomically(Path(record.folder) / RECORD_FILE, json.dumps(asdict(record), indent=1) + "\n")
    return record


def _show_on(bar: tqdm, places: int) -> OnProgress:
    """Progress; after the first place, how long all take here."""

    def show(progress: Progress) -> None:
        if progress.labelled and not bar.n:
            minutes = places * progress.seconds / progress.labelled / 60
            typer.echo(f"\nlike the first one, {places} places take {minutes:.0f} minutes", err=True)
        bar.update(progress.labelled - bar.n)

    return show


def _print(record: TrainingRecord, out: Path) -> None:
    manifest, figures, crossed, copied = record.manifest, record.out_of_fold, record.cross, record.curve[0]
    table = Table(title=f"{figures.tasks} tasks, {figures.chunks} chunks, judged out of fold")
    for heading in ("judged by", "AUC", "within a task"):
        table.add_column(heading, justify="left" if heading == "judged by" else "right")
    rows = (
        ("this filter", figures.auc, figures.auc_within),
        *([("cross (model features)", crossed.auc, crossed.auc_within)] if crossed is not None else []),
        (
            f"copy gains alone, calibrated by labels of {copied.label_tasks} places",
            copied.auc,
            copied.auc_within,
        ),
        ("shuffled labels", record.shuffled_auc, record.shuffled_auc_within),
        ("the retriever's score", record.retriever_auc, record.retriever_auc_within),
    )
    for name, over_all, within in rows:
        table.add_row(name, f"{over_all:.3f}", f"{within:.3f}")
    Console().print(table)
    print(
        f"kept from a probability of {manifest.keep_from:.2f} on: {figures.kept:.0%} of the chunks, "
        f"{figures.kept_tokens:.0%} of the tokens, nothing in {figures.abstains:.0%} of the tasks"
    )
    for name, one in (
        ("positive", figures.positive),
        ("neutral", figures.neutral),
        ("negative", figures.negative),
    ):
        print(
            f"{name}: {one.share:.1%} of the chunks, precision {one.precision:.2f}, recall {one.recall:.2f}"
        )
    print(
        "nats per token above unrelated chunks, if a set is worth its best chunk: "
        f"kept {figures.gain:+.3f}, exactly the positive ones {figures.gain_oracle:+.3f}; "
        f"all that fit together, measured, {figures.gain_all:+.3f}"
    )
    print(f"use it: --filter classifier --filter-weights {out}")


def _print_adapted(record: AdaptingRecord) -> None:
    title = f"{record.held_tasks} places in files held back, {record.learned_tasks} learned from"
    table = Table(title=title)
    for heading in ("filter", "AUC", "within a task", "kept tokens", "gain"):
        table.add_column(heading, justify="left" if heading == "filter" else "right")
    for name, figures in (("as it was", record.shipped), ("adapted", record.adapted)):
        table.add_row(
            name,
            f"{figures.auc:.3f}",
            f"{figures.auc_within:.3f}",
            f"{figures.kept_tokens:.0%}",
            f"{figures.gain:+.3f}",
        )
    Console().print(table)
    if record.auc_within_lead is not None:
        low, high = record.auc_within_lead
        print(f"within a task the adapted one's AUC is {low:+.3f} to {high:+.3f} above (95 %)")
    if record.better:
        print(f"better on {record.repository}; use it: --filter classifier --filter-weights {record.folder}")
        return
    if record.enough:
        print(f"not significantly better on {record.repository}: keep the filter as it was")
    else:
        print("too few helpful chunks were held back to tell: keep the filter as it was, or use more --tasks")
    print(f"nothing was replaced; what it learned is in {record.folder}")

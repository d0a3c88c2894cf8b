"""`codefilter train`: labels → the weights of a filter."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from codefilter.errors import UsageError
from codefilter.paths import exclusive, write_atomically

if TYPE_CHECKING:
    from codefilter.training.classifier import TrainingRecord

app = typer.Typer(name="train", help="Train a filter on impact labels.", no_args_is_help=True)
RECORD_FILE = "training.json"
CARD_FILE = "README.md"


@app.callback()
def train() -> None:
    """Train a filter on impact labels."""


@app.command("classifier")
def classifier_command(
    data: Annotated[Path, typer.Option("--data", help="Folder of the dataset; `dataset split` divides it.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the filter.")],
    sources: Annotated[
        list[Path] | None, typer.Option("--source", help="Folder that labels were made from, if no package.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures.")] = None,
    max_tokens_share: Annotated[
        float, typer.Option("--max-tokens-share", min=0.0, max=1.0, help="Of all candidates' tokens, kept.")
    ] = 0.2,
    networks: Annotated[int, typer.Option("--networks", min=1, help="That judge together.")] = 8,
    seed: Annotated[int, typer.Option("--seed", help="Of weights and orders.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Train the late form: what the texts have to do with each other, judged without a model.

    Every figure is of repositories that the judging networks did not see. A killed run keeps the features
    that it computed. Use the result with --filter classifier --filter-weights DIR.
    """
    from codefilter.dataset.description import require_description
    from codefilter.dataset.sources import find_roots, find_sources
    from codefilter.lm.loading import load_tokenizer
    from codefilter.training.card import card
    from codefilter.training.classifier import train_classifier
    from codefilter.training.fitting import FitOptions
    from codefilter.training.pages import training_page

    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file", hint="Name a folder after --out.")
    description = require_description(data)
    folders = [str(folder) for folder in sources or ()]
    roots = find_roots(description, folders)
    named = [source.name for source in description.sources if source.name in roots and not source.problem]
    by_folder = {Path(folder).resolve().name: folder for folder in folders}
    tokenizer = load_tokenizer(description.recipe.model.name)
    options = replace(FitOptions(), num_networks=networks, seed=seed)
    with exclusive(f"train-{out.resolve()}"), tqdm(bar_format="{desc} ({elapsed})") as bar:
        record, judged = train_classifier(
            data,
            find_sources([by_folder.get(name, name) for name in named]),
            roots,
            tokenizer,
            out,
            options,
            max_tokens_share=max_tokens_share,
            progress=bar.set_description,
        )
    write_atomically(out / RECORD_FILE, json.dumps(asdict(record), indent=1) + "\n")
    write_atomically(out / CARD_FILE, card(record))
    if html is not None:
        write_atomically(html, training_page(record, judged))
    if as_json:
        print(json.dumps(asdict(record), indent=1))
    else:
        _print(record)
        print(f"{out}: --filter classifier --filter-weights {out}")


def _print(record: TrainingRecord) -> None:
    manifest, figures = record.manifest, record.out_of_fold
    table = Table(title=f"{figures.tasks} tasks, {figures.chunks} chunks, judged out of fold")
    for heading in ("judged by", "AUC", "within a task"):
        table.add_column(heading, justify="left" if heading == "judged by" else "right")
    rows = (
        ("this filter", figures.auc, figures.auc_within),
        ("without labels: copy gains only", record.curve[0].auc, record.curve[0].auc_within),
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
        f"all together, measured, {figures.gain_all:+.3f}"
    )

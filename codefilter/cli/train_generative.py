"""`codefilter train generative`: labels → a language model that reads chunks and says what they are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from codefilter.cli import options
from codefilter.cli.options import MAX_SEED, finite
from codefilter.errors import UsageError
from codefilter.paths import exclusive, write_atomically
from codefilter.types import content_hash

if TYPE_CHECKING:
    from codefilter.training.generative import TuningPlan, TuningRecord
    from codefilter.training.tuning import TuneOptions

RECORD_FILE = "training.json"


def generative_command(
    data: Annotated[Path, typer.Option("--data", help="Folder of a dataset; `dataset split` divides it.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the filter, and of the checkpoint.")],
    model: Annotated[str | None, typer.Option("--model", help="Name or folder of the model to tune.")] = None,
    sources: Annotated[
        list[Path] | None, typer.Option("--source", help="Folder that labels were made from, if no package.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Largest number of examples of each part.")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            "--time-limit",
            min=0.0,
            callback=finite,
            metavar="MINUTES",
            help="Learn no longer than this; then what was learned is judged and written.",
        ),
    ] = None,
    prefix_tokens: Annotated[
        int | None,
        typer.Option("--prefix-tokens", min=1, help="Tokens before the cursor; default: as in the labels."),
    ] = None,
    suffix_tokens: Annotated[
        int | None,
        typer.Option("--suffix-tokens", min=0, help="Tokens after the cursor; default: as in the labels."),
    ] = None,
    chunk_tokens: Annotated[int, typer.Option("--chunk-tokens", min=1, help="Tokens of each chunk.")] = 128,
    max_chunks: Annotated[int, typer.Option("--max-chunks", min=1, help="Chunks of each example.")] = 10,
    target_tokens: Annotated[
        int, typer.Option("--target-tokens", min=0, help="Tokens of each completion.")
    ] = 64,
    target_weight: Annotated[
        float,
        typer.Option(
            "--target-weight",
            min=0.0,
            callback=finite,
            help="Weight of a completion's token in the loss; a control token's is 1.",
        ),
    ] = 1.0,
    read_all: Annotated[
        bool,
        typer.Option(
            "--read-all/--read-to-last-positive",
            help="Learn from all chunks, or only from those up to the last positive one.",
        ),
    ] = True,
    thresholds: Annotated[
        tuple[float, float],
        typer.Option("--thresholds", help="Probabilities of <MC> and <pos> that the filter asks for."),
    ] = (0.3, 0.3),
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Largest number of epochs.")] = 3,
    patience: Annotated[
        int, typer.Option("--patience", min=1, help="Epochs without improvement before it stops.")
    ] = 1,
    accumulate: Annotated[int, typer.Option("--accumulate", min=1, help="Examples per step.")] = 8,
    learning_rate: Annotated[
        float,
        typer.Option(
            "--learning-rate",
            min=0.0,
            max=1.0,
            callback=finite,
            help="Learning rate at its height.",
        ),
    ] = 3e-4,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Rank of the low-rank matrices.")] = 16,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.")
    ] = False,
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="A control: deal the labels anew; it must fall to chance.")
    ] = False,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, max=MAX_SEED, help="Random seed for weights, data order and dropout."),
    ] = 0,
    device: options.Device = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="Type of the frozen weights.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Tune a language model to read chunk after chunk, say which help, and stop when it has enough.

    Killed at any moment, the same command goes on from its checkpoint. Where --time-limit ends it, the best
    weights so far are judged and written, and the same command learns on.
    """
    from codefilter.config import load_settings
    from codefilter.dataset.description import require_description
    from codefilter.filters.generative_reading import ReadingShape
    from codefilter.lm.adapter import require_peft
    from codefilter.plots import new_figure

    started = time.monotonic()
    require_peft()
    if html is not None:
        new_figure()  # what draws is installed
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file", hint="Name a folder after --out.")
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        raise UsageError("thresholds are probabilities", hint="For example: --thresholds 0.3 0.3")
    settings = load_settings(None, overrides={"model": model, "device": device, "dtype": dtype})
    recipe = require_description(data).recipe
    from codefilter.training.generative import TuningPlan
    from codefilter.training.tuning import TuneOptions

    plan = TuningPlan(
        shape=ReadingShape(
            recipe.prefix_tokens if prefix_tokens is None else prefix_tokens,
            recipe.suffix_tokens if suffix_tokens is None else suffix_tokens,
            chunk_tokens,
            max_chunks,
        ),
        target_tokens=target_tokens,
        read_all=read_all,
        more_from=thresholds[0],
        positive_from=thresholds[1],
        limit=limit,
        shuffle=shuffle,
        device=settings.device,
        dtype=settings.dtype,
    )
    options = TuneOptions(
        rank=rank,
        alpha=2 * rank,
        learning_rate=learning_rate,
        epochs=epochs,
        patience=patience,
        accumulate=accumulate,
        target_weight=target_weight,
        gradient_checkpointing=gradient_checkpointing,
        seed=seed,
    )
    deadline = None if time_limit is None else started + 60 * time_limit
    with exclusive(f"train-{content_hash(str(out.resolve()))[:16]}"):
        record = _train(data, sources or [], settings.model, out, plan, options, deadline, html)
    print(json.dumps(asdict(record), indent=1)) if as_json else _print(record, out)


def _train(
    data: Path,
    folders: Sequence[Path],
    model: str,
    out: Path,
    plan: TuningPlan,
    options: TuneOptions,
    deadline: float | None,
    html: Path | None,
) -> TuningRecord:
    from codefilter.dataset.description import require_description
    from codefilter.dataset.records import repositories_of
    from codefilter.dataset.sources import find_roots
    from codefilter.dataset.storage import read_examples
    from codefilter.models import resolve
    from codefilter.training.card import remove_card
    from codefilter.training.generative import train_generative
    from codefilter.training.pages import tuning_page

    base = resolve(model)
    reader = model if base.name == model else str(base.folder.resolve())
    needed = repositories_of(read_examples(data))
    roots = find_roots(require_description(data), [str(folder) for folder in folders], needed)
    with tqdm(unit="step") as bar:
        record, judged = train_generative(
            data, roots, base, reader, out, plan, options, deadline=deadline, progress=_show_on(bar)
        )
    remove_card(out)
    write_atomically(out / RECORD_FILE, json.dumps(asdict(record), indent=1) + "\n")
    if html is not None:
        write_atomically(html, tuning_page(record, judged))
    return record


def _show_on(bar: tqdm) -> Callable[[str, int, int], object]:
    """Progress of one thing after the other; what an earlier run did says nothing about the time left."""

    def show(what: str, done: int, total: int) -> None:
        bar.set_description(what, refresh=False)
        if total != bar.total or done < bar.n:  # the next thing
            bar.initial = 0
            bar.reset(total)
            bar.initial = bar.n = bar.last_print_n = done
            bar.refresh()
        bar.update(done - bar.n)

    return show


def _print(record: TuningRecord, out: Path) -> None:
    every, until = record.reading_all, record.adaptive
    table = Table(title=f"{every.tasks} validation tasks, {every.chunks} chunks")
    for heading in ("judged by", "AUC", "within a task"):
        table.add_column(heading, justify="left" if heading == "judged by" else "right")
    for name, over_all, within in (
        ("this filter", every.auc, every.auc_within),
        ("the retriever's score", record.retriever_auc, record.retriever_auc_within),
    ):
        table.add_row(name, f"{over_all:.3f}", f"{within:.3f}")
    Console().print(table)
    print(
        f"it reads {record.chunks_read:.0%} of the chunks, keeps {until.kept_tokens:.0%} of the tokens, and "
        f"nothing in {until.abstains:.0%} of the tasks; of the positive chunks it keeps "
        f"{until.positive.recall:.0%}, of what it keeps {until.positive.precision:.0%} are positive"
    )
    print(
        "nats per token above unrelated chunks, if a set is worth its best chunk: "
        f"kept {until.gain:+.3f}, exactly the positive ones {until.gain_oracle:+.3f}; "
        f"all that fit together, measured, {until.gain_all:+.3f}"
    )
    last = record.curve[-1]
    print(
        f"{record.steps} steps, {record.tokens_per_second:.0f} tokens per second; at the end, on validation: "
        f"{last.validation_control:.3f} nats per control token, {last.validation_target:.3f} per completion's"
    )
    if record.stopped == "time":
        print("the time was over; the same command learns on")
    if record.manifest.shuffled:
        print("a control, which learned from shuffled labels: do not use it; it is refused as a filter")
    else:
        print(f"use it: --filter generative --filter-weights {out}")

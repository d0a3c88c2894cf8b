"""`codefilter dataset stats`, `show`, `materialize`, ...: what to do with labels that are there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from codefilter.cli import options
from codefilter.cli.options import finite
from codefilter.config import whole_number
from codefilter.errors import CodeFilterError, DatasetError, UsageError
from codefilter.paths import exclusive, write_atomically

if TYPE_CHECKING:
    from codefilter.config import Settings
    from codefilter.dataset.description import Recipe
    from codefilter.dataset.materialize import TextExample
    from codefilter.dataset.records import ExampleRecord
    from codefilter.lm.base import LanguageModel
    from codefilter.tokenizer import Tokenizer

_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the dataset.")]
_Repos = Annotated[
    list[str] | None,
    typer.Argument(metavar="[REPO]...", help="Folders that it was labelled from; packages are found alone."),
]
_Html = Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")]
_Model = Annotated[
    str | None, typer.Option("--model", help="The model of the labels, where its name does not find it.")
]


def stats_command(folder: _Folder, html: _Html = None, as_json: options.AsJson = False) -> None:
    """Say what the labels are like, and bring the dataset's card up to date."""
    from codefilter.dataset.card import CARD_FILE, card_text, is_card
    from codefilter.dataset.pages import COLUMNS
    from codefilter.dataset.stats import dataset_stats, sentences

    stats, records = dataset_stats(folder)
    if html is not None:
        from codefilter.dataset.charts import draw_all
        from codefilter.dataset.pages import stats_page

        groups = {"level": stats.by_level, "repository": stats.by_repository}
        charts = draw_all(records, groups, stats.description.recipe.options)
        write_atomically(html, stats_page(f"Impact labels: {folder.resolve().name}", stats, charts))
    if as_json:
        print(json.dumps(asdict(stats), ensure_ascii=False, indent=1))
    else:
        for sentence in sentences(stats):
            print(sentence)
        table = Table(box=None, pad_edge=False)
        for heading in ("", *(name for name, _ in COLUMNS)):
            table.add_column(heading, justify="right" if heading else "left")
        for row in (stats.whole, *stats.by_level, *stats.by_part, *stats.by_repository):
            table.add_row(row.name, *(show(row) for _, show in COLUMNS))
        Console().print(table)
    card = folder / CARD_FILE
    if card.exists() and not is_card(card):
        typer.echo(f"no card is written: {card} is something else", err=True)
        return
    try:
        write_atomically(card, card_text(folder, stats))
    except CodeFilterError as error:  # as in a folder that may only be read
        typer.echo(f"the card is as it was: {error.message}", err=True)


def show_command(
    folder: _Folder,
    example: Annotated[str, typer.Argument(metavar="ID", help="A part of its name, or its number from 1.")],
    repos: _Repos = None,
    top: Annotated[int, typer.Option("--top", min=0, help="How many chunks with their text.")] = 3,
    model: _Model = None,
    html: _Html = None,
    as_json: options.AsJson = False,
) -> None:
    """Print one task: chunks by impact, the truth's tokens coloured by what each chunk gave."""
    from codefilter.dataset.description import require_description
    from codefilter.dataset.materialize import open_materializer
    from codefilter.dataset.pages import example_page
    from codefilter.dataset.show import show_example, terminal_view
    from codefilter.dataset.storage import read_examples

    recipe = require_description(folder).recipe
    record = find_example(list(read_examples(folder)), example)
    if as_json:
        print(json.dumps(asdict(record), ensure_ascii=False, indent=1))
        return
    tokenizer = load_tokenizer_of(folder, recipe, model)
    shown = show_example(open_materializer(folder, repos or [], [record]).materialize(record), tokenizer)
    if html is not None:
        write_atomically(html, example_page(shown))
        return
    Console(highlight=False).print(terminal_view(shown, top))


def materialize_command(
    folder: _Folder,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the text form, replaced; not to be published.")
    ],
    repos: _Repos = None,
) -> None:
    """Put the text back into the references, checking every hash; parts as `dataset split` says."""
    from codefilter.dataset.materialize import write_text
    from codefilter.dataset.split import read_splits

    counts = write_text(_materialized(folder, repos or []), out, read_splits(folder))
    for part, count in counts.items():
        print(f"{out / part}-*.parquet: {count} examples")


def split_command(
    folder: _Folder,
    validation: Annotated[
        float, typer.Option("--validation", min=0, max=1, callback=finite, help="Share of examples.")
    ] = 0.15,
    test: Annotated[
        float, typer.Option("--test", min=0, max=1, callback=finite, help="Share of examples.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the order in which repositories are dealt.")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Forget the parts that are written down.")] = False,
) -> None:
    """Deal repositories to train, validation and test; those that have a part keep it."""
    from collections import Counter

    from codefilter.dataset.split import read_splits, split_repositories, write_splits
    from codefilter.dataset.storage import read_examples

    if validation + test >= 1:
        raise UsageError("nothing is left to train on", hint="Let --validation and --test be below 1.")
    examples = Counter(record.repository for record in read_examples(folder))
    kept = {} if again else read_splits(folder)
    parts = split_repositories(examples, {"validation": validation, "test": test}, seed, kept)
    write_splits(folder, kept | parts)
    for part in ("train", "validation", "test"):
        names = [name for name, chosen in parts.items() if chosen == part]
        print(f"{part}: {sum(examples[name] for name in names)} examples of {len(names)} repositories")


def validate_command(
    folder: _Folder,
    repos: _Repos = None,
    text: Annotated[bool, typer.Option("--text/--numbers-only", help="Check every text's hash too.")] = True,
) -> None:
    """Compute impacts, means, spreads and polarities again, and check every hash; exit code 1 on a fault."""
    from codefilter.dataset.description import require_description
    from codefilter.dataset.records import repositories_of
    from codefilter.dataset.sources import find_roots
    from codefilter.dataset.storage import num_examples, read_examples
    from codefilter.dataset.validate import validate

    description = require_description(folder)
    roots = find_roots(description, repos or [], repositories_of(read_examples(folder))) if text else None
    problems = list(validate(folder, roots))
    for problem in problems:
        print(problem)
    if problems:
        raise DatasetError(f"{len(problems)} problems in {folder}", hint="Build it anew, or restore a copy.")
    print(f"{num_examples(folder)} examples are as they should be")


def duplicates_command(
    folder: _Folder,
    repos: _Repos = None,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.1, max=1, callback=finite, help="Similarity, 0 to 1.")
    ] = 0.7,
) -> None:
    """Leave out examples that stand nearly the same in a benchmark, or beside one of another repository."""
    from codefilter.dataset.duplicates import (
        OTHER_REPOSITORIES,
        benchmark_references,
        find_exclusions,
        find_repeated,
        keep_others,
    )
    from codefilter.dataset.exclusions import Compared, read_exclusions, write_exclusions

    compared: list[str] = []
    references = list(benchmark_references(compared.append))
    examples = list(_materialized(folder, repos or [], with_excluded=True))
    found = find_exclusions(examples, references, threshold)
    left_out = {exclusion.example_id for exclusion in found}
    rest = [example for example in examples if example.record.example_id not in left_out]
    found += find_repeated(rest, threshold)
    everything = (*compared, OTHER_REPOSITORIES)
    exclusions = keep_others(found, read_exclusions(folder), everything)
    write_exclusions(folder, exclusions, Compared(len(examples), everything))
    print(f"compared with {', '.join(compared)}: {len(references)} files, and with {OTHER_REPOSITORIES}")
    for exclusion in exclusions:
        print(f"left out: {exclusion.example_id}, {exclusion.similarity:.2f} like {exclusion.reference}")
    print(f"{len(exclusions)} examples left out")


def compare_command(
    first: _Folder,
    second: Annotated[Path, typer.Argument(metavar="DIR2", help="Folder of another dataset.")],
    keep: Annotated[
        bool, typer.Option("--keep", help="Write it down beside the first, for `dataset stats` and its card.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Say how far two datasets agree where they label the same chunks (two models, layouts, dtypes)."""
    from codefilter.dataset.comparisons import compare, keep_agreement
    from codefilter.dataset.stats import of_everything, percent

    found = compare(first, second)
    if keep:
        keep_agreement(first, found)
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    print(
        f"{found.examples} tasks, {found.chunks} chunks in both. Impacts correlate {found.correlation:.2f}, "
        f"within tasks {found.correlation_within_task:.2f}. Polarity is the same for "
        f"{percent(found.same_polarity)} (kappa {found.kappa:.2f}), opposite for "
        f"{percent(found.opposite)}; of the first's positives {percent(found.positives_in_both)} are "
        f"positive in the second{of_everything(found)}. Signal to noise of the mean of both: "
        f"{found.mean_signal_to_noise:.2f}."
    )


def coalitions_command(
    folder: _Folder,
    repos: _Repos = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Tasks that are to have such labels.")] = 30,
    record: Annotated[Path | None, typer.Option("--record", help="Write the figures to this file.")] = None,
    model: _Model = None,
    engine: options.Engine = None,
    device: options.Device = None,
) -> None:
    """Label sets of chunks for tasks that some single chunk helps: what interacts, and the best set."""
    from codefilter.config import load_settings
    from codefilter.dataset.coalitions import (
        choose_examples,
        coalition_figures,
        label_coalitions,
        read_coalitions,
        settings_of,
    )
    from codefilter.dataset.description import require_description
    from codefilter.dataset.materialize import open_materializer
    from codefilter.dataset.storage import lock_name, read_examples

    recipe = require_description(folder).recipe
    settings = settings_of(recipe, load_settings(None, overrides={"engine": engine, "device": device}))
    loaded = load_model_of(folder, recipe, settings, model)
    warn_of_other_engines(folder, loaded.description)
    with exclusive(lock_name(folder), on_wait=lambda: typer.echo(f"waiting: {folder} is at work", err=True)):
        done = {label.example_id for label in read_coalitions(folder)}
        chosen = choose_examples(read_examples(folder), done, limit)
        materializer = open_materializer(folder, repos or [], chosen)
        examples = tqdm(list(map(materializer.materialize, chosen)), desc="coalitions", unit="task")
        for _ in label_coalitions(examples, materializer.roots, loaded, settings, folder):
            pass
    figures = asdict(coalition_figures(read_coalitions(folder)))
    if record is not None:
        content = {"model": asdict(recipe.model), "engine": loaded.description} | figures
        write_atomically(record, json.dumps(content, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


def warn_of_other_engines(folder: Path, engine: str) -> None:
    """Say it where labels that are there already were measured by another engine than those to come."""
    from codefilter.dataset.description import read_description

    made = read_description(folder)
    if others := [other for other in made.engines if other != engine] if made else []:
        typer.echo(
            f"warning: {folder} was labelled by {'; '.join(others)}, and goes on with {engine}: their "
            "numbers differ a little",
            err=True,
        )


def _materialized(folder: Path, repos: list[str], *, with_excluded: bool = False) -> Iterator[TextExample]:
    from codefilter.dataset.materialize import open_materializer
    from codefilter.dataset.storage import read_examples

    records = list(read_examples(folder, with_excluded=with_excluded))
    materializer = open_materializer(folder, repos, records)
    return map(materializer.materialize, tqdm(records, desc="materialize", unit="example"))


def load_model_of(folder: Path, recipe: Recipe, settings: Settings, name: str | None) -> LanguageModel:
    """The model that a dataset was labelled with, by its own name or another one.

    Raises:
        UsageError: it cannot be found by that name, or it has other weights.
    """
    from codefilter.lm.loading import load_configured_model

    found = load_configured_model(replace(settings, model=_model_name(folder, recipe, name)))
    if found.identity.sha256 != recipe.model.sha256:
        raise _other_weights(folder, recipe)
    return found


def load_tokenizer_of(folder: Path, recipe: Recipe, name: str | None) -> Tokenizer:
    """The tokenizer of the model that a dataset was labelled with; what it raises: `load_model_of`.

    A server's model is not known by its weights, so the tokenizer that is named for it is believed.
    """
    from codefilter.lm.loading import load_tokenizer
    from codefilter.models import resolve

    found = _model_name(folder, recipe, name)
    if name and not recipe.model.is_unverified and resolve(found).sha256 != recipe.model.sha256:
        raise _other_weights(folder, recipe)
    return load_tokenizer(found)


def _other_weights(folder: Path, recipe: Recipe) -> UsageError:
    return UsageError(
        f"{folder} was labelled with other weights of {recipe.model.name}",
        hint="Name the model that it was labelled with, or pull those weights again.",
    )


def _model_name(folder: Path, recipe: Recipe, name: str | None) -> str:
    """What finds the model of the labels: a server's address is not written down in them."""
    if not name and recipe.model.is_unverified:
        raise UsageError(
            f"{folder} was labelled by a server, {recipe.model.name}",
            hint="Say where it is: --model remote:URL, the same address as then.",
        )
    return name or recipe.model.name


def find_example(records: list[ExampleRecord], wanted: str) -> ExampleRecord:
    """The example of that number, from 1, or with that part in its name; `UsageError` unless there is one."""
    number = whole_number(wanted)
    if number is not None and 1 <= number <= len(records):
        return records[number - 1]
    found = [record for record in records if wanted in record.example_id]
    exact = [record for record in found if record.example_id == wanted]
    if len(exact or found) != 1:
        some = "; ".join(record.example_id for record in found[:3])
        raise UsageError(
            f"{len(found)} of {len(records)} examples are named {wanted!r}",
            hint=f"For example: {some}." if some else "Give a number, or a part of the path.",
        )
    return (exact or found)[0]

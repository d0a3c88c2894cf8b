"""The figures of a dataset: for people, for the card, for a page with pictures.

In: a dataset's folder. Out: `DatasetStats`; as sentences here, as a page in `pages`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from codefilter.dataset.coalitions import CoalitionFigures, coalition_figures, read_coalitions
from codefilter.dataset.comparisons import read_agreements
from codefilter.dataset.cost import CorpusCost, corpus_cost
from codefilter.dataset.description import Description, require_description
from codefilter.dataset.exclusions import read_exclusions
from codefilter.dataset.figures import Agreement, LabelFigures, array, label_figures, mean, median
from codefilter.dataset.records import ExampleRecord, StageSeconds
from codefilter.dataset.split import read_splits
from codefilter.dataset.storage import read_examples


@dataclass(frozen=True)
class RankFigures:
    """The chunks of one rank."""

    rank: int
    chunks: int
    positive: float  # share
    mean_impact: float  # corrected, nats per target token


@dataclass(frozen=True)
class DatasetStats:
    """What `dataset stats` says."""

    description: Description
    whole: LabelFigures
    by_level: tuple[LabelFigures, ...]
    by_repository: tuple[LabelFigures, ...]
    by_part: tuple[LabelFigures, ...]  # of the split; empty before there is one
    by_rank: tuple[RankFigures, ...]
    stage_seconds: dict[str, float]  # median per task
    minutes: float  # of all tasks
    tasks_without_positive: float  # share
    excluded: int  # near-duplicates of benchmarks and other repositories, not among the examples
    coalitions: CoalitionFigures | None  # of sets of chunks; None before they are tried
    agreements: tuple[Agreement, ...]  # with other labels of the same chunks
    cost: CorpusCost


def dataset_stats(folder: Path) -> tuple[DatasetStats, list[ExampleRecord]]:
    """The figures, and the examples that they are of.

    Raises:
        DatasetError: there is no dataset.
    """
    description = require_description(folder)
    records = list(read_examples(folder))
    parts = read_splits(folder)

    def grouped(key: Callable[[ExampleRecord], str]) -> tuple[LabelFigures, ...]:
        groups: dict[str, list[ExampleRecord]] = defaultdict(list)
        for record in records:
            groups[key(record)].append(record)
        options = description.recipe.options
        return tuple(label_figures(name, group, options) for name, group in sorted(groups.items()))

    stages = {
        f.name: median(array(getattr(record.seconds, f.name) for record in records))
        for f in fields(StageSeconds)
    }
    whole = label_figures("all", records, description.recipe.options)
    sets = read_coalitions(folder)
    prompts = description.recipe.num_candidates + description.recipe.options.num_controls
    stats = DatasetStats(
        description=description,
        whole=whole,
        by_level=grouped(lambda record: record.level),
        by_repository=grouped(lambda record: record.repository),
        by_part=grouped(lambda record: parts.get(record.repository, "no part")) if parts else (),
        by_rank=_by_rank(records, description),
        stage_seconds=stages,
        minutes=sum(record.seconds.total for record in records) / 60,
        tasks_without_positive=mean(
            array(not any(chunk.polarity == "positive" for chunk in record.chunks) for record in records)
        ),
        excluded=len(read_exclusions(folder)),
        coalitions=coalition_figures(sets) if sets else None,
        agreements=read_agreements(folder),
        cost=corpus_cost(whole, [run.machine for run in description.runs], prompts),
    )
    return stats, records


def _by_rank(records: Sequence[ExampleRecord], description: Description) -> tuple[RankFigures, ...]:
    by_rank: dict[int, list[float]] = defaultdict(list)
    for record in records:
        for chunk in record.chunks:
            by_rank[chunk.rank].append(chunk.impact_corrected)
    threshold = description.recipe.options.positive_threshold
    return tuple(
        RankFigures(rank, len(values), mean(array(values) > threshold), mean(array(values)))
        for rank, values in sorted(by_rank.items())
    )


def sentences(stats: DatasetStats) -> list[str]:
    """What the figures say, a sentence each."""
    whole, recipe = stats.whole, stats.description.recipe
    high, low = recipe.options.positive_threshold, recipe.options.negative_threshold
    dropped = f", {stats.excluded} near-duplicates left out" if stats.excluded else ""
    return [
        f"{whole.examples} tasks of {len(stats.by_repository)} repositories, {whole.chunks} labelled chunks, "
        f"{recipe.options.num_controls} controls per task{dropped}.",
        f"Labelled by {recipe.model.name}, layout {recipe.layout}, in-file "
        f"{recipe.prefix_tokens} + {recipe.suffix_tokens} tokens, "
        f"{recipe.num_candidates} candidates by {recipe.retriever}.",
        f"Above the controls (T_p {high:g}, T_n {low:g} nats per token): {percent(whole.positive)} "
        f"positive, {percent(whole.negative)} negative; unrelated chunks, by the same rule: "
        f"{percent(whole.control_positive)} and {percent(whole.control_negative)}.",
        f"Raw: {percent(whole.raw_positive)} positive, {percent(whole.raw_negative)} negative; unrelated "
        f"chunks {percent(whole.raw_control_positive)} and {percent(whole.raw_control_negative)}.",
        f"Spread of impacts within a task {whole.retrieved_spread:.3f} nats per token, of unrelated chunks "
        f"{whole.control_spread:.3f}: signal to noise {whole.signal_to_noise:.2f}; what any text does: "
        f"{whole.control_mean:+.3f} on average.",
        f"The whole target, nats: none {whole.nats_none:.2f}, all that fit {whole.nats_all:.2f}, best chunk "
        f"{whole.nats_best_chunk:.2f}, best or none {whole.nats_best_or_none:.2f}, best if positive "
        f"{whole.nats_best_if_positive:.2f}; the best chunk alone over all that fit "
        f"{whole.best_over_all:+.2f}.",
        f"All chunks together that fit (in {whole.all_fitted} tasks all of them do) make the truth less "
        f"likely in {percent(whole.all_worse_than_none)} of the tasks "
        f"({percent(whole.all_worse_where_fitted)} where all fit, {percent(whole.all_worse_where_dropped)} "
        f"elsewhere); {percent(stats.tasks_without_positive)} have no positive chunk.",
        of_sets(stats.coalitions),
        *(map(of_agreement, stats.agreements) if stats.agreements else [_NOT_COMPARED]),
        f"{whole.seconds_per_task:.1f} s per task, the median ("
        + ", ".join(f"{name} {seconds:.1f}" for name, seconds in stats.stage_seconds.items())
        + f"), {stats.minutes:.0f} minutes in all.",
        stats.cost.sentence,
        "Against a plain pass per chunk: `codefilter speed likelihood` (data/results/speed-likelihood.json).",
    ]


_NOT_COMPARED = "Not compared yet with labels of another model, order, dtype or layout (compare --keep)."


def of_sets(figures: CoalitionFigures | None) -> str:
    """What sets of chunks give."""
    if figures is None:
        return "Sets of chunks were not tried yet (dataset coalitions)."
    return (
        f"Sets of chunks, {figures.examples} tasks that a single one helps, nats: none "
        f"{figures.nats_none:.2f}, all that fit {figures.nats_all:.2f}, best chunk or none "
        f"{figures.nats_best_single:.2f}, best set {figures.nats_best_set:.2f} "
        f"({figures.chunks_in_best_set:.1f} chunks; over all that fit "
        f"{figures.nats_best_set - figures.nats_all:+.2f}), which beats the single chunk in "
        f"{percent(figures.set_beats_single)} of them. Edit similarity of what is then written, "
        f"{figures.written_examples} tasks: none {figures.edit_similarity_none:.1f}, all that fit "
        f"{figures.edit_similarity_all:.1f}, best chunk {figures.edit_similarity_best_single:.1f}, best set "
        f"{figures.edit_similarity_best_set:.1f}."
    )


def of_agreement(found: Agreement) -> str:
    """How far other labels of the same chunks agree."""
    return (
        f"Labelled again with {found.second}, {found.examples} tasks and {found.chunks} chunks: impacts "
        f"correlate {found.correlation:.2f} (above the controls), {found.correlation_within_task:.2f} within "
        f"tasks (raw); the polarity is the same for {percent(found.same_polarity)} (kappa "
        f"{found.kappa:.2f}), opposite for {percent(found.opposite)}; {percent(found.positives_in_both)} of "
        f"the positives are positive again{of_everything(found)}."
    )


def of_everything(found: Agreement) -> str:
    """How far they agree on all chunks together, as the end of a sentence; empty where it was not kept."""
    if found.everything_correlation is None or found.everything_same_sign is None:
        return ""
    return (
        f"; impacts of all that fit together correlate {found.everything_correlation:.2f}, their sign is the "
        f"same for {percent(found.everything_same_sign)} of the tasks"
    )


def percent(share: float) -> str:
    """A share for people."""
    return f"{100 * share:.1f} %"

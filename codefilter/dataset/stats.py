"""The figures of a dataset: for people, for the card, for a page with pictures.

In: a dataset's folder. Out: `DatasetStats`; as sentences here, as a page in `pages`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from codefilter.dataset.description import Description, require_description
from codefilter.dataset.exclusions import read_exclusions
from codefilter.dataset.figures import LabelFigures, array, label_figures, mean, median
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
    minutes: float  # of all runs
    tasks_without_positive: float  # share
    excluded: int  # near-duplicates of benchmarks, not among the examples


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
    stats = DatasetStats(
        description=description,
        whole=label_figures("all", records, description.recipe.options),
        by_level=grouped(lambda record: record.level),
        by_repository=grouped(lambda record: record.repository),
        by_part=grouped(lambda record: parts.get(record.repository, "no part")) if parts else (),
        by_rank=_by_rank(records, description),
        stage_seconds=stages,
        minutes=sum(run.seconds for run in description.runs) / 60,
        tasks_without_positive=mean(
            array(not any(chunk.polarity == "positive" for chunk in record.chunks) for record in records)
        ),
        excluded=len(read_exclusions(folder)),
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
    dropped = f", {stats.excluded} near-duplicates of benchmarks left out" if stats.excluded else ""
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
        f"The whole target, nats: none {whole.nats_none:.2f}, all {whole.nats_all:.2f}, best chunk "
        f"{whole.nats_best_chunk:.2f}, best or none {whole.nats_best_or_none:.2f}, best if positive "
        f"{whole.nats_best_if_positive:.2f}.",
        f"All chunks together make the truth less likely in {percent(whole.all_worse_than_none)} of the "
        f"tasks; {percent(stats.tasks_without_positive)} have no positive chunk.",
        f"{whole.seconds_per_task:.1f} s per task, the median ("
        + ", ".join(f"{name} {seconds:.1f}" for name, seconds in stats.stage_seconds.items())
        + f"), {stats.minutes:.0f} minutes in all.",
    ]


def percent(share: float) -> str:
    """A share for people."""
    return f"{100 * share:.1f} %"

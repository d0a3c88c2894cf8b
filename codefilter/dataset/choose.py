"""Which prompt settings give labels that mean something, and what they cost.

In: arms (settings of prompts), repositories. Out: an `ArmFigures` per arm over the tasks that all arms have.
Every arm is a small dataset of its own, built from the same tasks, so an interrupted comparison goes on.
Signal to noise is the spread of the retrieved chunks' impacts within a task over that of unrelated chunks
of the same length in the same task: what is left when the effect of any added text is taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codefilter.config import Settings
from codefilter.dataset.build import BuildPlan, OnProgress, build_dataset
from codefilter.dataset.records import ChunkRecord, ExampleRecord
from codefilter.dataset.sources import RepositorySource
from codefilter.dataset.storage import DatasetFolder, num_examples, read_examples
from codefilter.evaluation import Arm, parse_arm
from codefilter.labeling import LabelOptions
from codefilter.lm.base import LanguageModel
from codefilter.types import TaskLevel

Impacts = NDArray[np.float64]

TASKS_PER_REPOSITORY: Mapping[TaskLevel, int] = {TaskLevel.LINE: 1, TaskLevel.API: 1, TaskLevel.CHUNK: 1}


@dataclass(frozen=True)
class ArmFigures:
    """One arm. Impacts and spreads in mean nats per target token, the rest as named."""

    arm: str
    tasks: int
    signal_to_noise: float  # pooled within-task spread, retrieved over control
    retrieved_spread: float
    control_spread: float
    control_mean: float
    retrieved_above: float  # share of chunks whose corrected impact is above the positive threshold
    retrieved_below: float  # below the negative one
    control_above: float  # the same for controls, each against the mean of the task's others
    control_below: float
    nats_none: float  # of the whole target, mean over tasks
    nats_all: float
    nats_best_chunk: float
    nats_best_or_none: float
    nats_positives_oracle: float  # the best chunk if its corrected impact is positive by threshold, else none
    all_worse_than_none: float  # share of tasks
    prompt_tokens_one_chunk: float
    seconds_per_task: float


@dataclass(frozen=True)
class PairFigures:
    """How far two arms agree on the same chunks, and whether their mean is the better label."""

    first: str
    second: str
    correlation_within_task: float  # of impacts centred within the task, over all chunks
    mean_signal_to_noise: float  # of the mean of both arms' impacts


def parse_label_arm(text: str, settings: Settings) -> Arm:
    """``layout=after-suffix/prefix_tokens=512`` → an arm; ``default`` is the settings as they are."""
    changes = "" if text == "default" else f"/{text}"
    return Arm(text, parse_arm(f"all{changes}", settings).settings)


def arm_folder(folder: Path, arm: Arm) -> Path:
    """Where an arm's labels are kept."""
    return folder / arm.name.replace("/", ",")


def run_arms(
    arms: Sequence[Arm],
    sources: Sequence[RepositorySource],
    folder: Path,
    model: LanguageModel,
    options: LabelOptions,
    max_tasks: int,
    on_progress: Callable[[Arm], OnProgress],
) -> None:
    """Label the same tasks under every arm; what is there already is not done again."""
    for arm in arms:
        dataset = DatasetFolder(arm_folder(folder, arm))
        missing = max_tasks - num_examples(dataset.folder)
        if missing <= 0:
            continue
        plan = BuildPlan(
            per_repository=sum(TASKS_PER_REPOSITORY.values()),
            tasks_per_round=TASKS_PER_REPOSITORY,
            max_examples=missing,
        )
        build_dataset(sources, dataset, model, arm.settings, options, plan, on_progress(arm))


def compare_arms(
    arms: Sequence[Arm], folder: Path, options: LabelOptions
) -> tuple[list[ArmFigures], list[PairFigures]]:
    """Figures over the tasks that every arm has labelled with the same chunks and controls.

    Arms whose in-file budgets differ may retrieve other chunks of the task's own file; what an arm says of
    itself is over its own chunks, and pairs are compared over the chunks that both have.
    """
    by_arm = {arm.name: {r.example_id: r for r in read_examples(arm_folder(folder, arm))} for arm in arms}
    common = set.intersection(*(set(records) for records in by_arm.values()))
    kept = {name: [records[i] for i in sorted(common)] for name, records in by_arm.items()}
    figures = [arm_figures(name, records, options) for name, records in kept.items()]
    pairs = [_pair_figures(a, b, list(zip(kept[a], kept[b], strict=True))) for a, b in combinations(kept, 2)]
    return figures, pairs


def arm_figures(name: str, records: Sequence[ExampleRecord], options: LabelOptions) -> ArmFigures:
    """What one arm's labels are like."""
    retrieved = [_array(chunk.impact for chunk in r.chunks) for r in records]
    controls = [_array(chunk.impact for chunk in r.controls) for r in records]
    corrected = np.concatenate([r - c.mean() for r, c in zip(retrieved, controls, strict=True)])
    noise = np.concatenate([c - _means_of_others(c) for c in controls])
    tokens = [len(r.baseline.target_nats) for r in records]
    none = _array(r.baseline_nats for r in records)
    everything = _array(sum(r.everything.target_nats) for r in records)
    best = none + _array(r.max() * n for r, n in zip(retrieved, tokens, strict=True))
    sure = [
        (r - c.mean()).max() > options.positive_threshold for r, c in zip(retrieved, controls, strict=True)
    ]
    signal, floor = pooled_spread(retrieved), pooled_spread(controls)
    return ArmFigures(
        arm=name,
        tasks=len(records),
        signal_to_noise=_ratio(signal, floor),
        retrieved_spread=signal,
        control_spread=floor,
        control_mean=float(np.concatenate(controls).mean()),
        retrieved_above=float((corrected > options.positive_threshold).mean()),
        retrieved_below=float((corrected < options.negative_threshold).mean()),
        control_above=float((noise > options.positive_threshold).mean()),
        control_below=float((noise < options.negative_threshold).mean()),
        nats_none=float(none.mean()),
        nats_all=float(everything.mean()),
        nats_best_chunk=float(best.mean()),
        nats_best_or_none=float(np.maximum(best, none).mean()),
        nats_positives_oracle=float(np.where(sure, best, none).mean()),
        all_worse_than_none=float((everything < none).mean()),
        prompt_tokens_one_chunk=float(np.mean([c.reading.prompt_tokens for r in records for c in r.chunks])),
        seconds_per_task=float(np.mean([_seconds(r) for r in records])),
    )


def _pair_figures(
    first: str, second: str, pairs: Sequence[tuple[ExampleRecord, ExampleRecord]]
) -> PairFigures:
    centred: list[Impacts] = []
    retrieved, controls = [], []
    for a, b in pairs:
        impacts = _matched(a.chunks, b.chunks)
        if impacts.shape[1] > 1:
            centred.append(impacts - impacts.mean(axis=1, keepdims=True))
            retrieved.append(impacts.mean(axis=0))
        noise = _matched(a.controls, b.controls)
        if noise.shape[1] > 1:
            controls.append(noise.mean(axis=0))
    both = np.concatenate(centred, axis=1) if centred else np.zeros((2, 0))
    correlation = _correlation(both[0], both[1])
    return PairFigures(first, second, correlation, _ratio(pooled_spread(retrieved), pooled_spread(controls)))


def _matched(first: Sequence[ChunkRecord], second: Sequence[ChunkRecord]) -> Impacts:
    """Impacts of the chunks that two arms share, (2, chunks)."""
    left, right = ({chunk.chunk_id: chunk.impact for chunk in side} for side in (first, second))
    return _array((left[i], right[i]) for i in left if i in right).reshape(-1, 2).T


def _correlation(first: Impacts, second: Impacts) -> float:
    spread = float(first.std() * second.std()) if len(first) else 0.0
    return float(((first - first.mean()) * (second - second.mean())).mean()) / spread if spread else 0.0


def pooled_spread(groups: Iterable[Impacts]) -> float:
    """Standard deviation within groups, pooled: every group's own mean is taken away, n - 1 is counted."""
    groups = list(groups)
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups if len(group))
    return float(np.sqrt(squares / freedom)) if freedom > 0 else 0.0


def _means_of_others(values: Impacts) -> Impacts:
    return (values.sum() - values) / (len(values) - 1) if len(values) > 1 else values


def _array(values: Iterable[object]) -> Impacts:
    return np.array(list(values), dtype=np.float64)


def _ratio(signal: float, noise: float) -> float:
    return signal / noise if noise > 0 else 0.0


def _seconds(record: ExampleRecord) -> float:
    stages = record.seconds
    return stages.retrieve + stages.draft + stages.baseline + stages.chunks + stages.controls + stages.all

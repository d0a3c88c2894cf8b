"""`train classifier`: labels → a filter's folder, with every figure that says how good it is.

In: a dataset of impact labels with its parts. Out: the weights with their manifest, and a `TrainingRecord`.
Figures come from out-of-fold judgements: every repository is judged by networks that saw neither its labels
nor its copy gains. The threshold is chosen on the same judgements, never on a benchmark. The weights that
are kept are trained on the train part, and stopped and calibrated with the validation part.
Notable: beside the filter two controls are trained: on shuffled labels, which must fall to chance, and on
copy gains alone, which says what the labels are worth.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from codefilter import __version__
from codefilter.config import Settings
from codefilter.dataset.description import Description, require_description
from codefilter.dataset.sources import RepositorySource
from codefilter.dataset.split import read_splits
from codefilter.dataset.storage import read_examples
from codefilter.errors import DatasetError
from codefilter.filters.features import FEATURE_NAMES
from codefilter.filters.trained import FilterManifest, save_trained
from codefilter.tokenizer import Tokenizer
from codefilter.training.examples import TrainingTask, Values, copied_tasks, labelled_tasks
from codefilter.training.fitting import FitOptions, fit
from codefilter.training.judging import (
    FilterFigures,
    auc,
    auc_within,
    choose_threshold,
    judge_filter,
    probabilities,
)

NUM_FOLDS = 5
_CURVE = (0.25, 0.5)  # shares of the labels, besides none and all
_FOLD_NETWORKS = 4  # figures need fewer than the filter itself
_MIN_REPOSITORIES = 3
_COPIED = "copied"  # folder of features and copy gains, in the filter's own

Progress = Callable[[str], object]


@dataclass(frozen=True)
class CurvePoint:
    """Out-of-fold figures with a part of the labels."""

    label_tasks: int
    auc: float
    auc_within: float
    gain: float


@dataclass(frozen=True)
class TrainingRecord:
    """Everything that is told of a training run."""

    manifest: FilterManifest
    options: FitOptions
    max_tokens_share: float | None  # None: the threshold was given
    out_of_fold: FilterFigures  # of every labelled repository
    validation: FilterFigures  # of the kept weights; stopped and calibrated there, so a little too kind
    retriever_auc: float  # of the retriever's score
    retriever_auc_within: float
    shuffled_auc: float  # control: labels dealt anew, no copy gains
    shuffled_auc_within: float
    curve: tuple[CurvePoint, ...]  # the first without labels, the last with all
    seconds: float


@dataclass(frozen=True)
class Judged:
    """Out-of-fold judgements."""

    tasks: tuple[TrainingTask, ...]
    probabilities: tuple[Values, ...]  # each (candidates, levels)


def train_classifier(
    labels: Path,
    sources: Sequence[RepositorySource],
    roots: Mapping[str, Path],
    tokenizer: Tokenizer,
    out: Path,
    options: FitOptions,
    *,
    max_tokens_share: float = 0.2,
    keep_from: float | None = None,
    progress: Progress = lambda what: None,
) -> tuple[TrainingRecord, Judged]:
    """Train a late filter and write its folder.

    Args:
        labels: folder of the dataset.
        sources: repositories whose tasks without labels give copy gains; the validation part's are left out.
        roots: folders of the labelled repositories.
        tokenizer: of the model that labelled.
        out: where to; computed features are kept there too, so that a killed run goes on.
        options: of the fit.
        max_tokens_share: the threshold keeps at most this share of the candidates' tokens.
        keep_from: a threshold that was chosen otherwise, and is then not chosen here.
        progress: told what is being done.

    Raises:
        DatasetError: no dataset, no parts, or too few repositories.
    """
    started = time.monotonic()
    given = keep_from is not None
    description = require_description(labels)
    thresholds = description.recipe.options
    for level in (thresholds.positive_threshold, thresholds.negative_threshold):
        if level not in options.levels:
            options = replace(options, levels=tuple(sorted({*options.levels, level})))
    parts = _parts(labels)
    progress("features of the labelled tasks")
    labelled = [task for task in labelled_tasks(labels, roots, tokenizer) if task.repository in parts]
    repositories = {task.repository for task in labelled}
    if len(repositories) < _MIN_REPOSITORIES:
        raise DatasetError(
            f"{labels} has labels of {len(repositories)} repositories; {_MIN_REPOSITORIES} are needed: "
            "to learn from, to stop by, to judge",
            hint="Label more: codefilter dataset build REPO... --out DIR",
        )
    copied = []
    for source in sources:
        if parts.get(source.name, "train") == "train":
            progress(f"copy gains of {source.name}")
            copied += copied_tasks(source, tokenizer, _settings_of(description), out / _COPIED)
    column = options.levels.index(thresholds.positive_threshold)

    def figures(tasks: Sequence[TrainingTask], judged: Sequence[Values], threshold: float) -> FilterFigures:
        return judge_filter(
            tasks,
            judged,
            options.levels,
            thresholds.positive_threshold,
            thresholds.negative_threshold,
            threshold,
        )

    progress("folds, with all labels")
    judged = judge_out_of_fold(copied, labelled, options)
    if keep_from is None:
        keep_from = choose_threshold(labelled, [one[:, column] for one in judged], max_tokens_share)
    whole = figures(labelled, judged, keep_from)
    curve = [CurvePoint(len(labelled), whole.auc, whole.auc_within, whole.gain)]
    for share in sorted((0.0, *_CURVE), reverse=True):
        progress(f"folds, with {share:.0%} of the labels")
        partial = judge_out_of_fold(copied, labelled, options, share=share)
        chosen = choose_threshold(labelled, [one[:, column] for one in partial], max_tokens_share)
        point = figures(labelled, partial, chosen)
        curve.append(CurvePoint(round(share * len(labelled)), point.auc, point.auc_within, point.gain))
    progress("folds, with shuffled labels")
    chance = figures(labelled, judge_out_of_fold([], shuffled(labelled, options.seed), options), keep_from)

    progress("the filter")
    train = [task for task in labelled if parts[task.repository] == "train"]
    validation = [task for task in labelled if parts[task.repository] == "validation"]
    ensemble = fit(copied, train, validation, options)
    manifest = save_trained(
        out, _manifest(description, labels, options, keep_from, len(train), copied, labelled), ensemble
    )
    positives = [task.impacts > thresholds.positive_threshold for task in labelled]
    scores = [task.features[:, FEATURE_NAMES.index("retrieval.score")] for task in labelled]
    record = TrainingRecord(
        manifest=manifest,
        options=options,
        max_tokens_share=None if given else max_tokens_share,
        out_of_fold=whole,
        validation=figures(validation, [probabilities(ensemble, task) for task in validation], keep_from),
        retriever_auc=auc(np.concatenate(scores), np.concatenate(positives)),
        retriever_auc_within=auc_within(scores, positives),
        shuffled_auc=chance.auc,
        shuffled_auc_within=chance.auc_within,
        curve=tuple(reversed(curve)),
        seconds=round(time.monotonic() - started, 1),
    )
    return record, Judged(tuple(labelled), tuple(judged))


def judge_out_of_fold(
    copied: Sequence[TrainingTask],
    labelled: Sequence[TrainingTask],
    options: FitOptions,
    *,
    share: float = 1.0,
) -> list[Values]:
    """For every task, the judgement of networks that saw nothing of its repository; (candidates, levels).

    Args:
        copied: with copy gains.
        labelled: with impacts.
        options: of the fit.
        share: how many of the labels are trained on, repository by repository.
    """
    folds = _folds([task.repository for task in labelled])
    options = replace(options, num_networks=min(options.num_networks, _FOLD_NETWORKS))
    found: dict[str, Values] = {}
    for number, fold in enumerate(folds):
        stop = folds[(number + 1) % len(folds)]  # decides when to stop, and calibrates
        ensemble = fit(
            [task for task in copied if task.repository not in fold],
            _first_part([t for t in labelled if t.repository not in fold | stop], share),
            [task for task in labelled if task.repository in stop],
            options,
        )
        found |= {t.task_id: probabilities(ensemble, t) for t in labelled if t.repository in fold}
    return [found[task.task_id] for task in labelled]


def shuffled(tasks: Sequence[TrainingTask], seed: int) -> list[TrainingTask]:
    """The same tasks with all impacts dealt anew: nothing can be learned from them."""
    impacts = np.random.default_rng(seed).permutation(np.concatenate([task.impacts for task in tasks]))
    ends = np.cumsum([len(task.impacts) for task in tasks])[:-1]
    return [replace(t, impacts=dealt) for t, dealt in zip(tasks, np.split(impacts, ends), strict=True)]


def _folds(repositories: Sequence[str]) -> list[frozenset[str]]:
    """Repositories in folds of about the same number of tasks."""
    counts = {name: repositories.count(name) for name in dict.fromkeys(repositories)}
    folds: list[list[str]] = [[] for _ in range(min(NUM_FOLDS, len(counts)))]
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        min(folds, key=lambda fold: sum(counts[other] for other in fold)).append(name)
    return [frozenset(fold) for fold in folds]


def _first_part(tasks: Sequence[TrainingTask], share: float) -> list[TrainingTask]:
    """The first tasks of every repository."""
    by_repository: dict[str, list[TrainingTask]] = {}
    for task in tasks:
        by_repository.setdefault(task.repository, []).append(task)
    return [task for own in by_repository.values() for task in own[: round(share * len(own))]]


def _parts(labels: Path) -> dict[str, str]:
    """Repository → part; those that were set aside for tests are not there."""
    parts = {name: part for name, part in read_splits(labels).items() if part != "test"}
    if not {"train", "validation"} <= set(parts.values()):
        raise DatasetError(
            f"{labels} is not divided into a train and a validation part",
            hint=f"Divide it: codefilter dataset split {labels} --validation 0.15",
        )
    return parts


def _settings_of(description: Description) -> Settings:
    recipe = description.recipe
    return replace(
        Settings(),
        chunker=recipe.chunker,
        retriever=recipe.retriever,
        num_candidates=recipe.num_candidates,
    )


def _manifest(
    description: Description,
    labels: Path,
    options: FitOptions,
    keep_from: float,
    label_tasks: int,
    copied: Sequence[TrainingTask],
    labelled: Sequence[TrainingTask],
) -> FilterManifest:
    recipe = description.recipe
    return FilterManifest(
        form="late",
        features=FEATURE_NAMES,
        levels=options.levels,
        positive_level=recipe.options.positive_threshold,
        negative_level=recipe.options.negative_threshold,
        keep_from=keep_from,
        layout=recipe.layout,
        retriever=recipe.retriever,
        chunker=recipe.chunker,
        prefix_tokens=recipe.prefix_tokens,
        suffix_tokens=recipe.suffix_tokens,
        labelled_by=recipe.model.name,
        labelled_by_sha256=recipe.model.sha256,
        labels_sha256=labels_sha256(labels),
        label_tasks=label_tasks,
        copy_tasks=len(copied),
        repositories=len({task.repository for task in (*copied, *labelled)}),
        seed=options.seed,
        codefilter=__version__,
        weights_sha256="",  # known when they are written
    )


def labels_sha256(labels: Path) -> str:
    """Of all ids, targets and corrected impacts of a dataset, whatever files hold them."""
    digest = hashlib.sha256()
    for record in sorted(read_examples(labels), key=lambda record: record.example_id):
        impacts = [chunk.impact_corrected for chunk in record.chunks]
        digest.update(f"{record.example_id} {record.target_sha256} {impacts}\n".encode())
    return digest.hexdigest()

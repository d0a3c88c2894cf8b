"""`train classifier`: labels → a filter's folder, with every figure that says how good it is.

In: a dataset of impact labels with its parts. Out: the weights with their manifest, and a `TrainingRecord`.
Figures come from out-of-fold judgements: every repository is judged by networks that saw neither its labels
nor its copy gains. The threshold is chosen on the same judgements, never on a benchmark. The weights that
are kept are trained on the train part, stopped with the validation part, and calibrated with both.
Notable: beside the filter two controls are trained: on shuffled labels, which must fall to chance, and on
copy gains alone, for which labels only set the levels and calibrate, which says what learning them is worth.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from codefilter import __version__
from codefilter.config import Settings
from codefilter.dataset.description import Description, require_description
from codefilter.dataset.exclusions import read_exclusions
from codefilter.dataset.sources import RepositorySource
from codefilter.dataset.split import read_splits
from codefilter.dataset.storage import read_examples
from codefilter.errors import DatasetError
from codefilter.filters.features import FEATURE_NAMES
from codefilter.filters.trained import FilterManifest, save_trained
from codefilter.labeling import LabelOptions
from codefilter.tokenizer import Tokenizer
from codefilter.training.cross import fit_cross, judge_cross_out_of_fold
from codefilter.training.examples import (
    TrainingTask,
    Values,
    copied_tasks,
    elsewhere,
    labelled_parts,
    labelled_tasks,
)
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
_CURVE = (0.0, 0.25, 0.5)  # shares of the labels, besides all of them
_FOLD_NETWORKS = 4  # figures need fewer than the filter itself
_MIN_REPOSITORIES = 3
_COPIED = "copied"  # folder of features and copy gains, in the filter's own

Progress = Callable[[str], object]


@dataclass(frozen=True)
class CurvePoint:
    """Out-of-fold figures with a part of the labels.

    All labels of the fold that stops and calibrates count at every point; without others the networks learn
    copy gains alone, whose levels and calibration are those of that fold.
    """

    label_tasks: int  # whose labels the networks of a fold saw, mean over the folds
    auc: float
    auc_within: float


@dataclass(frozen=True)
class TrainingRecord:
    """Everything that is told of a training run."""

    manifest: FilterManifest
    options: FitOptions
    keep_from: float | None  # the threshold, where it was given
    max_tokens_share: float  # of the threshold of `cross`, and of that of `classifier` where none was given
    languages: tuple[str, ...]  # of the labelled places
    out_of_fold: FilterFigures  # of every labelled repository
    validation: FilterFigures  # of the kept weights; stopped and calibrated there, so a little too kind
    retriever_auc: float  # of the retriever's score
    retriever_auc_within: float
    cross: FilterFigures | None  # out of fold, of `cross`; None where no draft was read
    shuffled_auc: float  # control: labels dealt anew, no copy gains
    shuffled_auc_within: float
    curve: tuple[CurvePoint, ...]  # the first learns no labels, the last all
    seconds: float


@dataclass(frozen=True)
class Judged:
    """Out-of-fold judgements."""

    tasks: tuple[TrainingTask, ...]
    probabilities: tuple[Values, ...]  # each (candidates, levels)
    cross: tuple[Values, ...]  # the same of `cross`; empty where no draft was read


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
    """Train a filter on text features, and on model features where drafts were read; write its folder.

    Args:
        labels: folder of the dataset.
        sources: repositories whose tasks without labels give copy gains; only the train part's are taken.
        roots: folders of the labelled repositories.
        tokenizer: of the model that labelled.
        out: where to; computed features are kept there too, so that a killed run goes on.
        options: of the fit.
        max_tokens_share: the threshold keeps at most this share of the candidates' tokens.
        keep_from: a threshold that was chosen otherwise, and is then not chosen here.
        progress: told what is being done.

    Raises:
        DatasetError: no dataset, no parts, a repository in none of them, nothing in one of them, or too few
            repositories, also of the train part alone.
    """
    started = time.monotonic()
    description = require_description(labels)
    parts = labelled_parts(labels)
    progress("features of the labelled tasks")
    labelled = [task for task in labelled_tasks(labels, roots, tokenizer) if task.repository in parts]
    train, validation = (
        [task for task in labelled if parts[task.repository] == part] for part in ("train", "validation")
    )
    if not train or not validation:
        raise DatasetError(
            f"{labels} has no labels to learn from, or none to stop by",
            hint="Label more (codefilter dataset build), and divide them (codefilter dataset split --again).",
        )
    _require_repositories(labels, labelled)
    copied = _copied(labels, description, sources, tokenizer, out, labelled, progress)
    _require_copied(labels, copied, labelled)
    study = _Study(copied, labelled, options, description.recipe.options)

    progress("folds, with all labels")
    judged = judge_out_of_fold(copied, labelled, study.options)
    threshold = keep_from
    if threshold is None:
        threshold = choose_threshold(labelled, study.scores(judged), max_tokens_share)
    curve = study.curve(judged, progress)
    progress("folds, with shuffled labels")
    dealt = shuffled(labelled, options.seed)
    chance = study.figures(labelled, judge_out_of_fold([], dealt, study.options), threshold)

    progress("the filter")
    ensemble = fit(copied, train, validation, study.options)
    crossed = study.cross(judged)
    cross_threshold = choose_threshold(labelled, study.scores(crossed), max_tokens_share) if crossed else None
    manifest = save_trained(
        out,
        _manifest(description, labels, study, threshold, cross_threshold, label_tasks=len(train)),
        ensemble,
        fit_cross(labelled, judged, study.options.levels) if crossed else None,
    )
    found = [task.features[:, FEATURE_NAMES.index("retrieval.score")] for task in labelled]
    record = TrainingRecord(
        manifest=manifest,
        options=study.options,
        keep_from=keep_from,
        max_tokens_share=max_tokens_share,
        languages=tuple(sorted({record.language for record in read_examples(labels)})),
        out_of_fold=study.figures(labelled, judged, threshold),
        validation=study.figures(
            validation, [probabilities(ensemble, task) for task in validation], threshold
        ),
        retriever_auc=auc(np.concatenate(found), np.concatenate(study.positives)),
        retriever_auc_within=auc_within(found, study.positives),
        cross=study.figures(labelled, crossed, cross_threshold) if cross_threshold is not None else None,
        shuffled_auc=chance.auc,
        shuffled_auc_within=chance.auc_within,
        curve=curve,
        seconds=round(time.monotonic() - started, 1),
    )
    return record, Judged(tuple(labelled), tuple(judged), tuple(crossed))


class _Study:
    """What is trained on, and what a positive chunk is."""

    def __init__(
        self,
        copied: Sequence[TrainingTask],
        labelled: Sequence[TrainingTask],
        options: FitOptions,
        thresholds: LabelOptions,
    ) -> None:
        self.copied = copied
        self.labelled = labelled
        self.positive_level = thresholds.positive_threshold
        self.negative_level = thresholds.negative_threshold
        levels = sorted({*options.levels, self.positive_level, self.negative_level})
        self.options = replace(options, levels=tuple(levels))
        self.positives = [task.impacts > self.positive_level for task in labelled]

    def scores(self, judged: Sequence[Values]) -> list[Values]:
        """For every task (candidates,): the probability of being positive."""
        column = self.options.levels.index(self.positive_level)
        return [one[:, column] for one in judged]

    def figures(
        self, tasks: Sequence[TrainingTask], judged: Sequence[Values], threshold: float
    ) -> FilterFigures:
        """Of judgements of some tasks."""
        levels = self.options.levels
        return judge_filter(tasks, judged, levels, self.positive_level, self.negative_level, threshold)

    def cross(self, judged: Sequence[Values]) -> list[Values]:
        """Out-of-fold judgements of `cross`; none where some draft was not read."""
        if any(task.drafts is None for task in self.labelled):
            return []
        folds = folds_of(self.labelled)
        return judge_cross_out_of_fold(self.labelled, judged, self.options.levels, folds)

    def curve(self, judged: Sequence[Values], progress: Progress) -> tuple[CurvePoint, ...]:
        """Out-of-fold figures with fewer labels, up to those with all."""
        points = []
        for share in _CURVE:
            progress(f"folds, with {share:.0%} of the labels")
            partial = judge_out_of_fold(self.copied, self.labelled, self.options, share=share)
            points.append(self._point(share, partial))
        return (*points, self._point(1.0, judged))

    def _point(self, share: float, judged: Sequence[Values]) -> CurvePoint:
        scores = self.scores(judged)
        over_all = auc(np.concatenate(scores), np.concatenate(self.positives))
        seen = [len(learned) + len(held) for _, learned, held in _folds(self.labelled, share)]
        return CurvePoint(round(float(np.mean(seen))), over_all, auc_within(scores, self.positives))


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
        share: how many of the labels are learned, repository by repository; those that stop and calibrate
            are all there.
    """
    options = replace(options, num_networks=min(options.num_networks, _FOLD_NETWORKS))
    found: dict[str, Values] = {}
    for fold, learned, held in _folds(labelled, share):
        ensemble = fit([task for task in copied if task.repository not in fold], learned, held, options)
        found |= {t.task_id: probabilities(ensemble, t) for t in labelled if t.repository in fold}
    return [found[task.task_id] for task in labelled]


def shuffled(tasks: Sequence[TrainingTask], seed: int) -> list[TrainingTask]:
    """The same tasks with all impacts dealt anew: nothing can be learned from them."""
    impacts = np.random.default_rng(seed).permutation(np.concatenate([task.impacts for task in tasks]))
    ends = np.cumsum([len(task.impacts) for task in tasks])[:-1]
    return [replace(t, impacts=dealt) for t, dealt in zip(tasks, np.split(impacts, ends), strict=True)]


def folds_of(tasks: Sequence[TrainingTask]) -> list[frozenset[str]]:
    """The tasks' repositories, in folds of about the same number of tasks."""
    counts = Counter(task.repository for task in tasks)
    folds: list[list[str]] = [[] for _ in range(min(NUM_FOLDS, len(counts)))]
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        min(folds, key=lambda fold: sum(counts[other] for other in fold)).append(name)
    return [frozenset(fold) for fold in folds]


def _folds(
    labelled: Sequence[TrainingTask], share: float
) -> Iterator[tuple[frozenset[str], list[TrainingTask], list[TrainingTask]]]:
    """Every fold's repositories, the tasks that are learned to judge it, those that stop and calibrate."""
    folds = folds_of(labelled)
    for number, fold in enumerate(folds):
        stop = folds[(number + 1) % len(folds)]
        others = [task for task in labelled if task.repository not in fold | stop]
        yield fold, _first_part(others, share), [task for task in labelled if task.repository in stop]


def _first_part(tasks: Sequence[TrainingTask], share: float) -> list[TrainingTask]:
    """The first tasks of every repository."""
    by_repository: dict[str, list[TrainingTask]] = {}
    for task in tasks:
        by_repository.setdefault(task.repository, []).append(task)
    return [task for own in by_repository.values() for task in own[: round(share * len(own))]]


def _require_repositories(labels: Path, labelled: Sequence[TrainingTask]) -> None:
    repositories = {task.repository for task in labelled}
    if len(repositories) < _MIN_REPOSITORIES:
        raise DatasetError(
            f"{labels} has labels of {len(repositories)} repositories; {_MIN_REPOSITORIES} are needed: "
            "to learn from, to stop by, to judge",
            hint="Label more: codefilter dataset build REPO... --out DIR",
        )


def _copied(
    labels: Path,
    description: Description,
    sources: Sequence[RepositorySource],
    tokenizer: Tokenizer,
    out: Path,
    labelled: Sequence[TrainingTask],
    progress: Callable[[str], object],
) -> list[TrainingTask]:
    """Tasks with copy gains, of the train part and of what has no labels, where nothing is labelled."""
    copied, parts = [], read_splits(labels)
    excluded = read_exclusions(labels)
    unfit = {e.example_id.partition("/")[0] for e in excluded} - {
        record.repository for record in read_examples(labels)
    }  # all of it was left out
    for source in sources:
        if parts.get(source.name, "train") == "train" and source.name not in unfit:
            progress(f"copy gains of {source.name}")
            copied += copied_tasks(
                source,
                tokenizer,
                _settings_of(description),
                out / _COPIED,
            )
    return elsewhere(copied, labelled, excluded)


def _require_copied(labels: Path, copied: Sequence[TrainingTask], labelled: Sequence[TrainingTask]) -> None:
    """For every fold some of other repositories: for the curve, they are learned without any labels."""
    repositories = {task.repository for task in copied}
    if any(repositories <= fold for fold in folds_of(labelled)):
        raise DatasetError(
            f"{labels} has {len(repositories)} repositories in its train part that give copy gains; where "
            "these are judged, nothing is left to learn from",
            hint="Label more (codefilter dataset build), or divide with a smaller --validation or --test.",
        )


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
    study: _Study,
    keep_from: float,
    cross_keep_from: float | None,
    *,
    label_tasks: int,
) -> FilterManifest:
    recipe = description.recipe
    return FilterManifest(
        features=FEATURE_NAMES,
        levels=study.options.levels,
        positive_level=recipe.options.positive_threshold,
        negative_level=recipe.options.negative_threshold,
        keep_from=keep_from,
        cross_keep_from=cross_keep_from,
        layout=recipe.layout,
        retriever=recipe.retriever,
        chunker=recipe.chunker,
        prefix_tokens=recipe.prefix_tokens,
        suffix_tokens=recipe.suffix_tokens,
        labelled_by=recipe.model.name,
        labelled_by_sha256=recipe.model.sha256,
        labels_sha256=labels_sha256(labels),
        label_tasks=label_tasks,
        copy_tasks=len(study.copied),
        repositories=len({task.repository for task in (*study.copied, *study.labelled)}),
        seed=study.options.seed,
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

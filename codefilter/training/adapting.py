"""`train classifier --repo`: a filter goes on learning from one repository, and is held against what it was.

In: a trained filter, labels of the repository's own tasks. Out: another filter's folder, and an
`AdaptingRecord`: both filters on files that the new one did not learn from.
Notable: a few dozen labels are few. The advice is to keep the old filter unless the new one, at a threshold
that spends no more tokens, is significantly better within the places held back, and what it keeps there is
worth as much; otherwise it is written below the folder, and replaces nothing. Only what judges text features
is adapted; the layer of `cross`, which corrects it, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from codefilter import __version__
from codefilter.comparison import intervals
from codefilter.config import Settings
from codefilter.dataset.build import BuildPlan
from codefilter.dataset.description import Description, require_description
from codefilter.errors import DatasetError
from codefilter.filters.trained import FilterManifest, TrainedFilter, save_trained
from codefilter.tasks import TaskRepository
from codefilter.tokenizer import Tokenizer
from codefilter.training.classifier import labels_sha256
from codefilter.training.examples import TrainingTask, Values, file_of, labelled_tasks
from codefilter.training.fitting import FitOptions, adapt
from codefilter.training.judging import (
    FilterFigures,
    auc,
    judge_filter,
    probabilities,
    threshold_spending,
)
from codefilter.types import CompletionTask, content_hash

_PARTS = ("learned", "learned", "stopped", "held", "held")  # of the files, by their names' hashes
_MIN_POSITIVE = 3  # among the held back: fewer say nothing
NOT_BETTER = "not-better"  # below the folder that was named


@dataclass(frozen=True)
class OwnPlan(BuildPlan):
    """Label one repository's tasks; the others only give controls."""

    own: str = ""

    def turn(self, repository: TaskRepository, number: int, seed: int) -> list[CompletionTask]:
        """Its tasks; none of the others."""
        return super().turn(repository, number, seed) if repository.name == self.own else []


@dataclass(frozen=True)
class AdaptingRecord:
    """Both filters on the files held back, and everything that the new one was made with."""

    manifest: FilterManifest  # of the new filter
    began_with: str  # sha256 of the old one's weights
    settings: Settings
    plan: OwnPlan
    options: FitOptions
    labels: Description
    repository: str
    learned_tasks: int
    held_tasks: int
    shipped: FilterFigures
    adapted: FilterFigures  # at a threshold that spends no more tokens
    auc_within_lead: tuple[float, float] | None  # 95 % interval, new above old; None: too few tasks
    enough: bool  # the files held back can tell something
    better: bool  # the new filter may take the old one's place
    folder: str  # of the new filter: the one that was named, or one below it where it is not better


def adapt_classifier(
    labels: Path,
    plan: OwnPlan,
    settings: Settings,
    roots: Mapping[str, Path],
    tokenizer: Tokenizer,
    trained: TrainedFilter,
    out: Path,
    options: FitOptions,
) -> AdaptingRecord:
    """Adapt a filter and write it: where it was asked for if it is better, otherwise in a folder below.

    Args:
        labels: dataset with the repository's own tasks.
        plan: how the tasks were chosen, and whose they are.
        settings: under which they were labelled.
        roots: folders of the repositories that the dataset names.
        tokenizer: of the model that labelled.
        trained: what to begin with.
        out: where to, if it is better.
        options: of the fit; the levels are the filter's.

    Raises:
        DatasetError: labels of too few files.
    """
    repository = plan.own
    own = [task for task in labelled_tasks(labels, roots, tokenizer) if task.repository == repository]
    parts: dict[str, list[TrainingTask]] = {part: [] for part in _PARTS}
    for task in own:
        parts[_part(task)].append(task)
    if not all(parts.values()):
        raise DatasetError(
            f"{len(own)} places of {repository} are labelled, in too few files to learn and to hold back",
            hint="Label more with --tasks N.",
        )
    manifest = trained.manifest
    options = replace(options, levels=manifest.levels)
    ensemble = adapt(trained.ensemble, parts["learned"], parts["stopped"], options)
    held, column = parts["held"], trained.level_column(manifest.positive_level)
    before, after = ([probabilities(judge, task) for task in held] for judge in (trained.ensemble, ensemble))

    def figures(judged: Sequence[Values], keep_from: float) -> FilterFigures:
        return judge_filter(
            held, judged, manifest.levels, manifest.positive_level, manifest.negative_level, keep_from
        )

    def scores(judged: Sequence[Values]) -> list[Values]:
        return [one[:, column] for one in judged]

    shipped = figures(before, manifest.keep_from)
    adapted = figures(after, threshold_spending(held, scores(after), shipped.kept_tokens))
    lead = auc_within_lead(held, scores(after), scores(before), manifest.positive_level, options.seed)
    better = is_better(shipped, adapted, lead)
    folder = out if better else out / NOT_BETTER
    description = require_description(labels)
    recipe = description.recipe
    saved = save_trained(
        folder,
        replace(
            manifest,
            keep_from=adapted.keep_from,
            cross_keep_from=None,
            labelled_by=recipe.model.name,
            labelled_by_sha256=recipe.model.sha256,
            labels_sha256=labels_sha256(labels),
            label_tasks=manifest.label_tasks + len(parts["learned"]),
            repositories=manifest.repositories + 1,
            seed=options.seed,
            codefilter=__version__,
        ),
        ensemble,
    )
    return AdaptingRecord(
        manifest=saved,
        began_with=manifest.weights_sha256,
        settings=settings,
        plan=plan,
        options=options,
        labels=description,
        repository=repository,
        learned_tasks=len(parts["learned"]),
        held_tasks=len(held),
        shipped=shipped,
        adapted=adapted,
        auc_within_lead=lead,
        enough=has_enough(shipped),
        better=better,
        folder=str(folder),
    )


def has_enough(shipped: FilterFigures) -> bool:
    """Whether the files held back can tell anything."""
    return round(shipped.positive.share * shipped.chunks) >= _MIN_POSITIVE


def is_better(shipped: FilterFigures, adapted: FilterFigures, lead: tuple[float, float] | None) -> bool:
    """Whether the new filter, which spends no more tokens, may take the old one's place."""
    sure = lead is not None and lead[0] > 0
    return has_enough(shipped) and sure and adapted.gain >= shipped.gain


def auc_within_lead(
    tasks: Sequence[TrainingTask],
    scores: Sequence[Values],
    others: Sequence[Values],
    level: float,
    seed: int,
) -> tuple[float, float] | None:
    """95 % interval of how much higher the AUC within a task is than with other scores; None: too few tasks.

    Files are drawn again, or tasks where the files are few.
    """
    files, first, second = [], [], []
    for task, one, other in zip(tasks, scores, others, strict=True):
        positive = task.impacts > level
        if positive.any() and not positive.all():
            files.append(file_of(task.task_id))
            first.append([auc(one, positive), 1.0])
            second.append([auc(other, positive), 1.0])
    if not files:
        return None
    _, _, lead = intervals(np.transpose(first), np.transpose(second), files, seed)
    return None if lead.low is None or lead.high is None else (lead.low, lead.high)


def _part(task: TrainingTask) -> str:
    """By the file: lines of one file know each other."""
    return _PARTS[int(content_hash(file_of(task.task_id))[:8], 16) % len(_PARTS)]

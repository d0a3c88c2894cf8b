"""`train classifier --repo`: a filter goes on learning from one repository, and is held against what it was.

In: a trained filter, labels of the repository's own tasks. Out: another filter's folder, and an
`AdaptingRecord`: both filters on files that the new one did not learn from.
Notable: a few dozen labels are few. The advice is to keep the old filter unless the new one is better in both
figures on the files held back. Only the late form is adapted; the cross form, which corrects it, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codefilter import __version__
from codefilter.config import Settings
from codefilter.dataset.build import BuildPlan
from codefilter.dataset.description import Description, require_description
from codefilter.errors import DatasetError
from codefilter.filters.networks import Ensemble
from codefilter.filters.trained import FilterManifest, TrainedFilter, save_trained
from codefilter.tasks import TaskRepository
from codefilter.tokenizer import Tokenizer
from codefilter.training.classifier import labels_sha256
from codefilter.training.examples import TrainingTask, labelled_tasks
from codefilter.training.fitting import FitOptions, adapt
from codefilter.training.judging import FilterFigures, judge_filter, probabilities
from codefilter.types import CompletionTask, content_hash

_PARTS = ("learned", "learned", "stopped", "held", "held")  # of the files, by their names' hashes
_MIN_POSITIVE = 3  # among the held back: fewer say nothing


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
    adapted: FilterFigures

    @property
    def enough(self) -> bool:
        """Whether the files held back can tell anything."""
        positive = self.shipped.positive.share * self.shipped.chunks
        return positive >= _MIN_POSITIVE

    @property
    def better(self) -> bool:
        """Whether the new filter may take the old one's place."""
        told = self.adapted.auc_within > self.shipped.auc_within
        return self.enough and told and self.adapted.gain >= self.shipped.gain


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
    """Adapt a filter and write it.

    Args:
        labels: dataset with the repository's own tasks.
        plan: how the tasks were chosen, and whose they are.
        settings: under which they were labelled.
        roots: folders of the repositories that the dataset names.
        tokenizer: of the model that labelled.
        trained: what to begin with.
        out: where to.
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
    description = require_description(labels)
    recipe = description.recipe
    saved = save_trained(
        out,
        replace(
            manifest,
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

    def figures(judge: Ensemble) -> FilterFigures:
        held: Sequence[TrainingTask] = parts["held"]
        return judge_filter(
            held,
            [probabilities(judge, task) for task in held],
            manifest.levels,
            manifest.positive_level,
            manifest.negative_level,
            manifest.keep_from,
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
        held_tasks=len(parts["held"]),
        shipped=figures(trained.ensemble),
        adapted=figures(ensemble),
    )


def _part(task: TrainingTask) -> str:
    """By the file: lines of one file know each other."""
    path = task.task_id.rsplit(":", 1)[0]
    return _PARTS[int(content_hash(path)[:8], 16) % len(_PARTS)]

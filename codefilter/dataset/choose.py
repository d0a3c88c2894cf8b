"""Which prompt settings give labels that mean something, and what they cost.

In: arms (settings of prompts), repositories. Out: figures per arm, and per pair of arms, over the tasks that
all arms have. Every arm is a small dataset of its own, built from the same tasks, so an interrupted
comparison goes on. Signal to noise is the spread of the retrieved chunks' impacts within a task over that of
unrelated chunks of the same length in the same task: what is left when the effect of any text is taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from codefilter.config import Settings
from codefilter.dataset.build import BuildPlan, OnProgress, build_dataset, recipe_of
from codefilter.dataset.description import DESCRIPTION_FILE, require_description
from codefilter.dataset.execution import LocalExecutor
from codefilter.dataset.figures import Agreement, LabelFigures, agreement, label_figures
from codefilter.dataset.sources import RepositorySource
from codefilter.dataset.storage import DatasetFolder, num_examples, read_examples, refuse_other_recipe
from codefilter.errors import UsageError
from codefilter.evaluation import Arm, parse_arm
from codefilter.labeling import LabelOptions
from codefilter.lm.base import LanguageModel
from codefilter.prompts.layouts import measuring_layout
from codefilter.types import TaskLevel

TASKS_PER_REPOSITORY: Mapping[TaskLevel, int] = {TaskLevel.LINE: 1, TaskLevel.API: 1, TaskLevel.CHUNK: 1}


def parse_label_arms(text: str, settings: Settings) -> list[Arm]:
    """Arms by commas; `UsageError` where one comes twice, under one name or two."""
    arms = [parse_label_arm(name.strip(), settings) for name in text.split(",")]
    for first, second in combinations(arms, 2):
        if first.settings == second.settings:
            raise UsageError(
                f"the arms {first.name} and {second.name} are the same",
                hint="For example: --arms default,layout=after-suffix",
            )
    return arms


def parse_label_arm(text: str, settings: Settings) -> Arm:
    """``layout=after-suffix/prefix_tokens=512`` → an arm; ``default`` is the settings as they are.

    Labels are measured in the cursor's line, whatever `hole_lines` is.
    """
    changes = "" if text == "default" else f"/{text}"
    chosen = parse_arm(f"all{changes}", settings).settings
    measured = replace(chosen, layout=measuring_layout(chosen.layout), hole_lines=settings.hole_lines)
    return Arm(text, measured)


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
        executor = LocalExecutor(model, arm.settings, options)
        build_dataset(sources, dataset, executor, plan, on_progress(arm))


def compare_arms(
    arms: Sequence[Arm], folder: Path, options: LabelOptions
) -> tuple[list[LabelFigures], list[Agreement]]:
    """Figures over the tasks that every arm has labelled.

    Arms whose in-file budgets differ may retrieve other chunks of the task's own file; what is said of an arm
    is over its own chunks, pairs are compared over the chunks that both have.

    Raises:
        UsageError: an arm's labels were made with other settings than the arm's, or no task has them all.
    """
    for arm in arms:
        made = require_description(arm_folder(folder, arm)).recipe
        refuse_other_recipe(arm_folder(folder, arm), made, recipe_of(made.model, arm.settings, options))
    by_arm = {arm.name: {r.example_id: r for r in read_examples(arm_folder(folder, arm))} for arm in arms}
    common = sorted(set.intersection(*(set(records) for records in by_arm.values())))
    if not common:
        raise UsageError(
            "no task is labelled under every arm",
            hint=f"{DESCRIPTION_FILE} in each arm's folder below {folder} says what was left out; labels "
            "need two repositories or more.",
        )
    kept = {name: [records[i] for i in common] for name, records in by_arm.items()}
    figures = [label_figures(name, records, options) for name, records in kept.items()]
    return figures, [agreement(a, kept[a], b, kept[b]) for a, b in combinations(kept, 2)]

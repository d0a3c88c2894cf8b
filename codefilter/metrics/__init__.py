"""How good a completion is, by the rules of the three papers whose benchmarks are used.

In: a prediction as the model wrote it, and its task. Out: `Scores`. Every family cuts the prediction in its
own way before it compares, so its figures cannot be held against another's: name the family with every
number.

To add a family: a module beside this file, and a line in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable

from codefilter.errors import UsageError
from codefilter.metrics.crosscodeeval import score_crosscodeeval
from codefilter.metrics.repocoder import score_repocoder
from codefilter.metrics.repoformer import score_repoformer
from codefilter.metrics.scores import Scores, ScoreSummary, summarize
from codefilter.metrics.syntax import is_valid_in_place
from codefilter.types import CompletionTask, TaskLevel

__all__ = [
    "FAMILIES",
    "METRIC_FAMILY",
    "ScoreSummary",
    "Scores",
    "get_family",
    "is_valid_in_place",
    "needs_prompt",
    "score",
    "summarize",
    "writes_on",
]

FAMILIES: dict[str, Callable[[str, CompletionTask], Scores]] = {
    "repocoder": score_repocoder,
    "repoformer": score_repoformer,
    "crosscodeeval": score_crosscodeeval,
}

METRIC_FAMILY = "repocoder"  # what we score our own completions by, unless another is asked for


def needs_prompt(family: str, task: CompletionTask) -> bool:
    """Whether the family cuts a prediction for this task by parsing it behind the prompt."""
    if family == "crosscodeeval":
        return task.request.language == "python"
    return family == "repoformer" and task.level is TaskLevel.FUNCTION


def writes_on(family: str, task: CompletionTask) -> bool:
    """Whether the family ends a prediction for this task by its own rule, not at the truth's number of lines.

    What a model wrote must then go on behind these lines, for the family to have something to cut.
    """
    return family == "crosscodeeval" or (family == "repoformer" and task.level is TaskLevel.FUNCTION)


def score(family: str, prediction: str, task: CompletionTask) -> Scores:
    """Compare a prediction with its task's target by one family's rules.

    Raises:
        UsageError: There is no such family.
    """
    return get_family(family)(prediction, task)


def get_family(name: str) -> Callable[[str, CompletionTask], Scores]:
    """A family's function by its name; `UsageError` where there is none."""
    if name not in FAMILIES:
        raise UsageError(f"no metric family {name!r}", hint=f"One of: {', '.join(FAMILIES)}.")
    return FAMILIES[name]

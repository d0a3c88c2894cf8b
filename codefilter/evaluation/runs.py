"""Folders of runs → results to compare: shards joined, arms of different models kept apart.

In: folders that `codefilter evaluate` made. Out: `JoinedResults`, one per benchmark. Notable: two runs may be
joined under the same arm name only if model and settings are the same; otherwise the model's or the folder's
name is added to the arm's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codefilter.errors import UsageError
from codefilter.evaluation.records import RunPlan, read_plan
from codefilter.evaluation.results import TaskError, TaskResult
from codefilter.evaluation.storage import read_errors, read_results


@dataclass(frozen=True)
class Run:
    """One folder."""

    folder: Path
    plan: RunPlan
    results: tuple[TaskResult, ...]
    errors: tuple[TaskError, ...]


@dataclass(frozen=True)
class JoinedResults:
    """All results of one benchmark; arms are labelled so that no two different ones have the same name."""

    benchmark: str
    runs: tuple[Run, ...]
    arms: tuple[str, ...]  # labels, in the order of the command lines
    results: tuple[TaskResult, ...]  # their `arm` is the label; one per task and arm

    @property
    def tasks(self) -> int:
        """Number of tasks that any arm has."""
        return len({result.task_id for result in self.results})

    def choose_baseline(self, label: str | None) -> str:
        """The arm of that label, by default the first; `UsageError` where there is none."""
        if label is not None and label not in self.arms:
            raise UsageError(f"no arm {label!r} in {self.benchmark}", hint=f"Arms: {', '.join(self.arms)}.")
        return label if label is not None else self.arms[0]


def read_run(folder: Path) -> Run:
    """Everything of a run.

    Raises:
        UsageError: no run's folder, or a run without results.
    """
    plan = read_plan(folder)
    results = tuple(read_results(folder))
    if not results:
        raise UsageError(f"{folder} has no results yet", hint="Let `codefilter evaluate` run a while first.")
    return Run(folder, plan, results, tuple(read_errors(folder)))


def join_runs(runs: Sequence[Run]) -> list[JoinedResults]:
    """Runs by benchmark, in the order given; of two results of a task and arm the first counts.

    Raises:
        UsageError: two runs of one benchmark are on different data.
    """
    names = _labels(runs)
    joined = []
    for benchmark in dict.fromkeys(run.plan.benchmark for run in runs):
        named = zip(runs, names, strict=True)
        own = [(run, suffix) for run, suffix in named if run.plan.benchmark == benchmark]
        if len({run.plan.data_sha256 for run, _ in own}) > 1:
            raise UsageError(
                f"these runs of {benchmark} are on different data", hint="Compare runs on the same data only."
            )
        found: dict[tuple[str, str], TaskResult] = {}
        for run, suffix in own:
            for result in run.results:
                label = f"{result.arm}{suffix}"
                found.setdefault((result.task_id, label), replace(result, arm=label))
        present = {label for _, label in found}
        planned = [f"{arm}{suffix}" for run, suffix in own for arm in run.plan.arms]
        arms = tuple(dict.fromkeys(arm for arm in [*planned, *sorted(present)] if arm in present))
        joined.append(JoinedResults(benchmark, tuple(run for run, _ in own), arms, tuple(found.values())))
    return joined


def _labels(runs: Sequence[Run]) -> list[str]:
    """What is added to the arm names of each run."""
    models = {run.plan.model.sha256 for run in runs}
    suffixes = []
    for run in runs:
        same_model = [other for other in runs if other.plan.model.sha256 == run.plan.model.sha256]
        parts = [run.plan.model.name] if len(models) > 1 else []
        if len({_key(other) for other in same_model}) > 1:
            parts.append(run.folder.name)
        suffixes.append(f" · {', '.join(parts)}" if parts else "")
    return suffixes


def _key(run: Run) -> str:
    """What makes results of the same arm name comparable, apart from the benchmark and its data."""
    what = run.plan.same_run().items()
    return str({name: value for name, value in what if name not in ("benchmark", "data")})

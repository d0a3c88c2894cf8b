"""Folders of runs → results to compare: shards joined, arms of different models kept apart.

In: folders that `codefilter evaluate` made, or their records. Out: `JoinedResults`, one per benchmark.
Notable: two runs may be joined under the same arm name only if model, engine and settings are the same, and
the weights of a trained filter; otherwise the model's name, the settings that differ or the folder's name,
the number of candidates, or the weights' hash is added to the arm's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from codefilter.config import Settings
from codefilter.errors import UsageError
from codefilter.evaluation.records import RunPlan, read_plan, read_record
from codefilter.evaluation.results import TaskError, TaskResult
from codefilter.evaluation.storage import read_errors, read_results

_NAMED_SETTINGS = 2  # of runs that are told apart by more of them the folder is named


@dataclass(frozen=True)
class Run:
    """One folder, or a record of one."""

    path: Path
    plan: RunPlan
    results: tuple[TaskResult, ...]
    errors: tuple[TaskError, ...]

    @property
    def is_record(self) -> bool:
        """Whether there are figures only: what was written, and the code around it, is not here."""
        return not self.path.is_dir()

    @property
    def arms(self) -> tuple[str, ...]:
        """In the order of the command lines; arms that only results know come last."""
        return tuple(dict.fromkeys([*self.plan.arms, *sorted({result.arm for result in self.results})]))


@dataclass(frozen=True)
class JoinedResults:
    """All results of one benchmark; arms are labelled so that no two different ones have the same name."""

    benchmark: str
    runs: tuple[Run, ...]
    arms: tuple[str, ...]  # labels, in the order of the command lines
    results: tuple[TaskResult, ...]  # their `arm` is the label; one per task and arm
    errors: tuple[TaskError, ...]  # of tasks and labels that have no result

    @property
    def tasks(self) -> int:
        """Number of tasks that any arm has."""
        return len({result.task_id for result in self.results})

    @property
    def metric_family(self) -> str:
        """By whose rules what was written was judged."""
        return next((run for run in self.runs if run.plan.writes), self.runs[0]).plan.metric_family

    @property
    def notices(self) -> tuple[str, ...]:
        """What has to be said beside the figures."""
        return tuple(dict.fromkeys(notice for run in self.runs for notice in run.plan.notices))

    def choose_baseline(self, label: str | None) -> str:
        """The arm of that label, by default the first; `UsageError` where there is none."""
        if label is not None and label not in self.arms:
            raise UsageError(f"no arm {label!r} in {self.benchmark}", hint=f"Arms: {', '.join(self.arms)}.")
        return label if label is not None else self.arms[0]


def read_run(path: Path) -> Run:
    """Everything of a run: of its folder, or of its record, which has the figures and no texts.

    Raises:
        UsageError: neither a run's folder nor a record, or a run without results.
    """
    return _read_folder(path) if path.is_dir() else Run(path, *read_record(path))


def _read_folder(folder: Path) -> Run:
    plan = read_plan(folder)
    results = tuple(read_results(folder))
    if not results:
        raise UsageError(f"{folder} has no results yet", hint="Let `codefilter evaluate` run a while first.")
    return Run(folder, plan, results, tuple(read_errors(folder)))


def join_runs(runs: Sequence[Run]) -> list[JoinedResults]:
    """Runs by benchmark, in the order given; of two results of a task and arm the first counts.

    Those of folders come before those of records, which have no texts.

    Raises:
        UsageError: two runs of one benchmark are on different data, or of different metric families.
    """
    joined = []
    for benchmark in dict.fromkeys(run.plan.benchmark for run in runs):
        of_benchmark = tuple(run for run in runs if run.plan.benchmark == benchmark)
        own = list(zip(of_benchmark, _labels(of_benchmark), strict=True))
        repositories = {item for run, _ in own for item in run.plan.repositories_sha256.items()}
        are_same = len(repositories) == len(dict(repositories))
        if len({run.plan.data_sha256 for run, _ in own}) > 1 or not are_same:
            raise UsageError(
                f"these runs of {benchmark} are on different data", hint="Compare runs on the same data only."
            )
        families = {run.plan.metric_family for run, _ in own if run.plan.writes}
        if len(families) > 1:
            raise UsageError(
                f"these runs of {benchmark} are judged by different rules: {', '.join(sorted(families))}",
                hint="Compare runs of one --family; `codefilter score` judges predictions by another.",
            )
        found: dict[tuple[str, str], TaskResult] = {}
        failed: dict[tuple[str, str], TaskError] = {}
        for run, names in sorted(own, key=lambda one: one[0].is_record):
            for result in run.results:
                label = names[result.arm]
                found.setdefault((result.task_id, label), replace(result, arm=label))
            for error in run.errors:
                label = names.get(error.arm, error.arm)
                failed.setdefault((error.task_id, label), replace(error, arm=label))
        present = {label for _, label in found}
        arms = tuple(dict.fromkeys(names[arm] for run, names in own for arm in run.arms))
        arms = tuple(arm for arm in arms if arm in present)
        errors = tuple(error for place, error in failed.items() if place not in found)
        joined.append(JoinedResults(benchmark, of_benchmark, arms, tuple(found.values()), errors))
    return joined


def _labels(runs: Sequence[Run]) -> list[dict[str, str]]:
    """What the arms of each run are called beside those of the others; one name for the same settings."""
    models = _told_apart([(run.plan.model.name, run.plan.model.sha256[:8]) for run in runs])
    paths = {_key(run): run.path for run in reversed(runs)}  # of the first with these settings
    folders = _told_apart([(paths[_key(run)].name, str(paths[_key(run)])) for run in runs])
    labels = []
    for run, model, folder in zip(runs, models, folders, strict=True):
        same_model = [other for other in runs if other.plan.model.sha256 == run.plan.model.sha256]
        parts = [model] if len(same_model) < len(runs) else []
        differing = _differing_settings(same_model)
        own = {}
        for arm in run.arms:
            said = [*parts, *([folder] if differing is None else _values(run, arm, differing))]
            for what in (_candidates, _weights):
                if len({what(other, arm) for other in same_model if arm in other.arms}) > 1:
                    said.append(what(run, arm))
            own[arm] = f"{arm} · {', '.join(said)}" if said else arm
        labels.append(own)
    return labels


def _differing_settings(runs: Sequence[Run]) -> list[str] | None:
    """The settings that runs of one model differ in; None where those are many, or something else differs."""
    same = [_shared(run) for run in runs]
    differing = [name for name in same[0] if len({values[name] for values in same}) > 1]
    names = {field.name for field in fields(Settings)} - {"engine"}  # what ran, whatever was asked for
    return differing if names.issuperset(differing) and len(differing) <= _NAMED_SETTINGS else None


def _values(run: Run, arm: str, differing: Sequence[str]) -> list[str]:
    """A run's values of settings that tell it from others, but for those that the arm itself has changed."""
    values = _shared(run)
    return [f"{name}={values[name]}" for name in differing if f"/{name}=" not in arm]


def _candidates(run: Run, arm: str) -> str:
    """How many an arm chooses from; like the filter it is the arm's own, so that others may differ in it."""
    asked = "" if "/num_candidates=" in arm else run.plan.settings.num_candidates or "usual"
    return f"{asked} candidates"


def _weights(run: Run, arm: str) -> str:
    """Of a trained filter, by the beginning of their hash."""
    return f"weights {run.plan.weights_sha256.get(arm, 'unknown')[:8]}"


def _told_apart(names: Sequence[tuple[str, str]]) -> list[str]:
    """Short names, with the full one behind those that stand for several."""
    full = {short: {whole for other, whole in names if other == short} for short, _ in names}
    return [short if len(full[short]) == 1 else f"{short} ({whole})" for short, whole in names]


def _key(run: Run) -> str:
    """See `_shared`, as one text."""
    return str(_shared(run))


def _shared(run: Run) -> dict[str, object]:
    """What makes results comparable, apart from benchmark and data, and from what is an arm's own."""
    other = ("benchmark", "data", "num_candidates")
    return {name: value for name, value in run.plan.same_run().items() if name not in other}

"""What a run is, and what came of it: enough to do it again and to believe it.

In: the plan, the outcome. Out: ``run.json``, written first and held against a later attempt in the same
folder, whose arms and tasks are added to it; ``record.json``, written last, which holds figures only and no
text of other people's code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from codefilter import __version__
from codefilter.config import Settings
from codefilter.errors import UsageError
from codefilter.evaluation.results import TaskError, TaskResult
from codefilter.evaluation.summary import ArmSummary
from codefilter.lm.base import ModelIdentity
from codefilter.paths import write_atomically

PLAN_FILE = "run.json"
RECORD_FILE = "record.json"

_OLDER_SETTINGS = {"hole_lines": 0}  # how runs were made before a setting existed
_TEXT_FIELDS = ("prediction", "target", "chunks")
_RAY_WORKERS = re.compile(r", \d+ Ray workers?$")  # in an engine's description: they change no figure


@dataclass(frozen=True)
class RunPlan:
    """What is run; `same_run` says which of it must not change between attempts."""

    benchmark: str
    data_sha256: str
    levels: str  # by commas
    limit: int | None
    seed: int
    shard: str  # "1/1": everything; several by commas
    tasks: int  # of the last attempt
    arms: tuple[str, ...]
    writes: bool  # False: only the target's likelihood
    metric_family: str
    model: ModelIdentity
    engine: str
    settings: Settings
    codefilter: str = __version__  # of all attempts, as the commit and the machine
    commit: str = ""
    machine: str = ""
    weights_sha256: dict[str, str] = field(default_factory=dict)  # of trained filters, by arm
    num_candidates: dict[str, int] = field(default_factory=dict)  # by arm, where it is known
    repositories_sha256: dict[str, str] = field(default_factory=dict)  # of a benchmark's, by name
    notices: tuple[str, ...] = ()  # what has to be said beside the figures

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The plan that `dataclasses.asdict` made a dictionary of; KeyError or TypeError for others."""
        changes = {
            "arms": tuple(values["arms"]),
            "notices": tuple(values.get("notices", ())),
            "model": ModelIdentity(**values["model"]),
            "settings": Settings(**{**_OLDER_SETTINGS, **values["settings"]}),
        }
        return cls(**{**values, **changes})

    def same_run(self) -> dict[str, object]:
        """What results of one folder must have in common; arms and tasks may be added."""
        of_arms = ("filter", "filter_weights")  # a filter is told by its arm, its weights by their sha256
        settings = {name: value for name, value in asdict(self.settings).items() if name not in of_arms}
        return {
            "benchmark": self.benchmark,
            "data": self.data_sha256,
            "writing": self.writes,
            "metric family": self.metric_family,
            **settings,
            "model": self.model.sha256,  # what ran, whatever was asked for; as is the engine
            "engine": _RAY_WORKERS.sub("", self.engine),
        }

    def added_to(self, earlier: RunPlan) -> RunPlan:
        """This attempt and an earlier one in the same folder; of what cannot be joined, this one's counts."""
        limits = [limit for limit in (earlier.limit, self.limit) if limit is not None]
        return replace(
            self,
            levels=_joined(earlier.levels, self.levels),
            limit=max(limits) if len(limits) == 2 else None,
            shard=_joined(earlier.shard, self.shard),
            arms=tuple(dict.fromkeys([*earlier.arms, *self.arms])),
            weights_sha256=earlier.weights_sha256 | self.weights_sha256,
            num_candidates=earlier.num_candidates
            | {arm: k for arm, k in self.num_candidates.items() if arm not in earlier.arms},
            repositories_sha256=earlier.repositories_sha256 | self.repositories_sha256,
            codefilter=_joined(earlier.codefilter, self.codefilter, "; "),
            commit=_joined(earlier.commit, self.commit, "; "),
            machine=_joined(earlier.machine, self.machine, "; "),
            notices=tuple(dict.fromkeys([*earlier.notices, *self.notices])),
        )


def _joined(first: str, second: str, separator: str = ",") -> str:
    parts = [*first.split(separator), *second.split(separator)]
    return separator.join(dict.fromkeys(part for part in parts if part))


def begin_run(plan: RunPlan, folder: Path) -> RunPlan:
    """Write the plan, together with that of an earlier attempt, and return it; refuse another run's folder.

    Raises:
        UsageError: the folder's run differs in what must not change.
    """
    path = folder / PLAN_FILE
    if path.exists():
        earlier = read_plan(folder)
        same = earlier.same_run()
        changed = [name for name, value in plan.same_run().items() if same.get(name) != value]
        named: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
            ("weights", earlier.weights_sha256, plan.weights_sha256),
            ("candidates", earlier.num_candidates, plan.num_candidates),
            ("files", earlier.repositories_sha256, plan.repositories_sha256),
        )
        changed += [
            f"{what} of {name}"
            for what, known, own in named
            for name, value in own.items()
            if known.get(name, value) != value
        ]
        if changed:
            engines = f"That one was run by {earlier.engine}, this one is by {plan.engine}. "
            hint = "Give another --out folder; `codefilter compare` and `report` take several."
            raise UsageError(
                f"{folder} holds another run: {', '.join(changed)} differ",
                hint=engines + hint if "engine" in changed else hint,
            )
        plan = plan.added_to(earlier)
    write_atomically(path, json.dumps(asdict(plan), indent=1))
    return plan


def read_plan(folder: Path) -> RunPlan:
    """The plan of a run's folder; `UsageError` where there is none."""
    try:
        return RunPlan.from_json(json.loads((folder / PLAN_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"it has no {PLAN_FILE}" if isinstance(error, FileNotFoundError) else error
        raise UsageError(
            f"{folder} is not the folder of a run: {reason}", hint="Give a folder that `evaluate --out` made."
        ) from error


def write_record(
    plan: RunPlan,
    folder: Path,
    summaries: Sequence[ArmSummary],
    results: Sequence[TaskResult],
    **more: object,
) -> dict[str, Any]:
    """Write the record of all that the folder holds, and return it; `more` are further figures."""
    figures = [{k: v for k, v in asdict(r).items() if k not in _TEXT_FIELDS} for r in results]
    record = {
        **asdict(plan),
        "tasks": len({result.task_id for result in results}),
        **more,
        "arms": [asdict(summary) for summary in summaries],
        "results": figures,
    }
    write_atomically(folder / RECORD_FILE, json.dumps(record, indent=1))
    return record


def read_record(path: Path) -> tuple[RunPlan, tuple[TaskResult, ...], tuple[TaskError, ...]]:
    """What `write_record` wrote: the plan, the figures of every task without its texts, and what failed.

    Raises:
        UsageError: it is no record of a run, or one without results.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        arms = [summary["arm"] for summary in values["arms"]]
        known = {field.name: values[field.name] for field in fields(RunPlan) if field.name in values}
        results = recorded_results(values)
        writes = any(result.prediction is not None for result in results)
        oldest = {"data_sha256": "", "limit": None, "shard": "", "engine": "", "writes": writes}
        plan = RunPlan.from_json({**oldest, **known, "arms": arms})
        errors = tuple(TaskError(**error) for error in values.get("errors", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, FileNotFoundError) else error
        raise UsageError(
            f"{path} is not the folder of a run, nor its record: {reason}",
            hint="Give a folder that `evaluate --out` made, or the record.json in it.",
        ) from error
    if not results:
        raise UsageError(f"{path} has no results", hint="Let `codefilter evaluate` run a while first.")
    return plan, results, errors


def recorded_results(values: Mapping[str, Any]) -> tuple[TaskResult, ...]:
    """The results in a record; their texts are empty, and the oldest records do not have every figure."""
    unknown: dict[str, Any] = dict.fromkeys(field.name for field in fields(TaskResult))
    unknown |= {"target": "", "chunks": (), "reused_tokens": 0, "language": "", "prompt_id": ""}
    rows = [unknown | row for row in values["results"]]
    return tuple(
        TaskResult.from_json(row | {"prediction": None if row["exact_match"] is None else ""}) for row in rows
    )

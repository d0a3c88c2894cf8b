"""Predictions in the released form, so that the released scripts and `codefilter score` can judge them.

In: a run's results and its tasks. Out: ``predictions/ARM.jsonl``: RepoCoder's records with ``choices``, which
have CrossCodeEval's and Repoformer's ``task_id`` and ``pred`` as well. Notable: where the run's metric family
ends a prediction at the truth's number of lines, the arms stop writing there. Families that cut by a rule of
their own what a model wrote on (`codefilter.metrics.writes_on`) find nothing to cut in these predictions, and
their figures of them are not the released metrics: such a record says so.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from codefilter.benchmarks.predictions import released_line
from codefilter.evaluation.results import TaskResult
from codefilter.metrics import FAMILIES, writes_on
from codefilter.paths import write_atomically
from codefilter.types import CompletionTask

FOLDER = "predictions"


def export_predictions(
    results: Iterable[TaskResult], tasks: Iterable[CompletionTask], folder: Path, family: str
) -> list[Path]:
    """Write one file per arm below the folder of a run by a metric family, and return their paths.

    Results without a prediction are left out. Those of tasks that are not among `tasks` (a benchmark's other
    levels, for example) keep the line that an earlier attempt wrote.
    """
    by_id = {task.task_id: task for task in tasks}
    by_arm: dict[str, list[TaskResult]] = defaultdict(list)
    for result in results:
        if result.prediction is not None:
            by_arm[result.arm].append(result)
    paths = []
    for arm, rows in by_arm.items():
        path = folder / FOLDER / f"{file_name(arm)}.jsonl"
        lines = _lines_by_task(path) | {
            row.task_id: json.dumps(released_record(by_id[row.task_id], row.prediction or "", family)) + "\n"
            for row in rows
            if row.task_id in by_id
        }
        write_atomically(path, "".join(lines[row.task_id] for row in rows if row.task_id in lines))
        paths.append(path)
    return paths


def _lines_by_task(path: Path) -> dict[str, str]:
    """What an earlier attempt exported."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return {json.loads(line)["task_id"]: line for line in lines}


def file_name(arm: str) -> str:
    """An arm's name as a file name: ``top-k:3/layout=after-suffix`` → ``top-k-3,layout=after-suffix``."""
    return re.sub(r"[^\w.,=-]", "-", arm.replace("/", ","))


def released_record(task: CompletionTask, prediction: str, family: str) -> dict[str, Any]:
    """RepoCoder's record of a prediction by a run's family; the prompt is the whole file up to the target.

    As released, it lacks its last line end; where the target begins within a line, which RepoCoder's never
    do, it has none to lack, and the metadata say so.
    """
    request = task.request
    return {
        "task_id": task.task_id,
        "pred": prediction,
        "prompt": request.prefix.removesuffix("\n"),
        "choices": [{"text": prediction}],
        "metadata": {
            "task_id": task.task_id,
            "ground_truth": task.target,
            "fpath_tuple": [task.repository, *request.path.split("/")],
            "context_start_lineno": 0,
            "line_no": released_line(task),
            "level": task.level.value,
            "prompt_ends_in_line": bool(request.prefix) and not request.prefix.endswith("\n"),
            **_notice(task, family),
        },
    }


def _notice(task: CompletionTask, family: str) -> dict[str, str]:
    """Which families a prediction is too short for, or nothing."""
    others = [name for name in FAMILIES if writes_on(name, task)]
    if writes_on(family, task) or not others:
        return {}
    said = f"a {task.level.value} ends at the truth's number of lines, the rule of {family}"
    return {"notice": f"{said}: what {' or '.join(others)} makes of it is not the released metric"}

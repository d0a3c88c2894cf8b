"""Predictions in the released form, so that the released scripts and `codefilter score` can judge them.

In: a run's results and its tasks. Out: ``predictions/ARM.jsonl``: RepoCoder's records with ``choices``, which
have CrossCodeEval's and Repoformer's ``task_id`` and ``pred`` as well.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from codefilter.evaluation.results import TaskResult
from codefilter.paths import write_atomically
from codefilter.types import CompletionTask

FOLDER = "predictions"


def export_predictions(
    results: Iterable[TaskResult], tasks: Iterable[CompletionTask], folder: Path
) -> list[Path]:
    """Write one file per arm below a run's folder; results without a prediction are left out."""
    by_id = {task.task_id: task for task in tasks}
    lines: dict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.prediction is not None:
            record = released_record(by_id[result.task_id], result.prediction)
            lines[result.arm].append(json.dumps(record) + "\n")
    paths = []
    for arm, records in lines.items():
        path = folder / FOLDER / f"{file_name(arm)}.jsonl"
        write_atomically(path, "".join(records))
        paths.append(path)
    return paths


def file_name(arm: str) -> str:
    """An arm's name as a file name: ``top-k:3/layout=after-suffix`` → ``top-k-3,layout=after-suffix``."""
    return re.sub(r"[^\w.,=-]", "-", arm.replace("/", ","))


def released_record(task: CompletionTask, prediction: str) -> dict[str, Any]:
    """RepoCoder's record of a prediction; the prompt is the whole file up to the target.

    As released, it lacks its last line end.
    """
    request, place = task.request, task.provenance
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
            "line_no": place.start_line,
            "level": task.level.value,
        },
    }

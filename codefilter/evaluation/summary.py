"""Results → one line per arm.

In: `TaskResult`s. Out: `ArmSummary`s: means over the arm's tasks; intervals and differences are
`codefilter.comparison`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from codefilter.evaluation.results import TaskResult


@dataclass(frozen=True)
class ArmSummary:
    """Means of one arm over tasks; what needs a prediction is None where only the likelihood was measured.

    Records have shares in percent, but `worse_than_first` from 0 to 1.
    """

    arm: str
    tasks: int
    exact_match: float | None  # percent
    edit_similarity: float | None  # percent
    identifier_exact_match: float | None  # percent
    identifier_f1: float | None  # percent
    valid_in_place: float | None  # percent of those where something can be said
    abstained: float | None  # percent: nothing was written, or only white space
    nats_per_token: float  # all target nats over all target tokens
    nats_per_task: float
    worse_than_first: float | None  # share of the first arm's tasks whose target is less likely; 0 to 1
    prompt_tokens: float
    reused_tokens: float  # of the prompt, not read again
    cross_file_tokens: float
    kept: float
    kept_nothing: float  # percent of tasks
    first_token_seconds: float | None
    read_seconds: float | None
    write_seconds: float | None
    seconds: dict[str, float]  # by stage; a stage that a task did not have counts as 0


def summarise(results: Sequence[TaskResult], arms: Sequence[str]) -> list[ArmSummary]:
    """One summary per arm that has results; the first arm is the one that the others are held against."""
    by_arm = {arm: [result for result in results if result.arm == arm] for arm in arms}
    first = {result.task_id: result.target_nats for result in by_arm[arms[0]]} if arms else {}
    return [_summarise(arm, rows, first) for arm, rows in by_arm.items() if rows]


def _summarise(arm: str, rows: Sequence[TaskResult], first: dict[str, float]) -> ArmSummary:
    def mean(value: Callable[[TaskResult], float | None], scale: float = 1.0) -> float | None:
        values = [scale * known for row in rows if (known := value(row)) is not None]
        return float(np.mean(values)) if values else None

    def always(value: Callable[[TaskResult], float]) -> float:
        return float(np.mean([value(row) for row in rows]))

    written = any(row.prediction is not None for row in rows)
    stages = list(dict.fromkeys(stage for row in rows for stage in row.seconds))
    compared = [row.target_nats < first[row.task_id] for row in rows if row.task_id in first]
    return ArmSummary(
        arm=arm,
        tasks=len(rows),
        exact_match=mean(lambda row: row.exact_match, 100),
        edit_similarity=mean(lambda row: row.edit_similarity),
        identifier_exact_match=mean(lambda row: row.identifier_exact_match, 100),
        identifier_f1=mean(lambda row: row.identifier_f1),
        valid_in_place=mean(lambda row: row.valid_in_place, 100),
        abstained=mean(lambda row: row.abstained, 100) if written else None,
        nats_per_token=sum(row.target_nats for row in rows) / max(1, sum(row.target_tokens for row in rows)),
        nats_per_task=always(lambda row: row.target_nats),
        worse_than_first=float(np.mean(compared)) if compared else None,
        prompt_tokens=always(lambda row: row.prompt_tokens),
        reused_tokens=always(lambda row: row.reused_tokens),
        cross_file_tokens=always(lambda row: row.cross_file_tokens),
        kept=always(lambda row: row.kept),
        kept_nothing=always(lambda row: 100.0 * (row.kept == 0)),
        first_token_seconds=always(lambda row: row.first_token_seconds) if written else None,
        read_seconds=mean(lambda row: row.seconds.get("read")),
        write_seconds=mean(lambda row: row.seconds.get("write")),
        seconds={stage: float(np.mean([row.seconds.get(stage, 0.0) for row in rows])) for stage in stages},
    )

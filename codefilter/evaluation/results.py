"""What a run knows of each task and arm: values, and their lines of JSON.

In: nothing but figures of the stages before. Out: `TaskResult`, `TaskError`, and the `TaskContext` and
`ChunkText` that people need to understand them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class ChunkUse:
    """What became of one candidate under one arm."""

    chunk_id: str
    path: str
    start_line: int
    end_line: int
    score: float
    keep: bool  # by the filter
    used: bool  # it stands in the prompt: kept, and within the budget
    polarity: str
    confidence: float
    reason: str
    impact: float | None = None  # nats per token of the truth, where the arm measured it


@dataclass(frozen=True)
class TaskResult:
    """One prediction and its figures."""

    task_id: str
    repository: str
    level: str
    language: str
    arm: str
    target: str
    prediction: str | None  # None where only the likelihood was measured
    exact_match: float | None  # 0 or 1
    edit_similarity: float | None  # 0 to 100
    identifier_exact_match: float | None  # 0 or 1
    identifier_f1: float | None  # 0 to 100
    valid_in_place: bool | None  # it brings no new syntax error; None where nothing can be said
    finish_reason: str | None
    target_nats: float  # log-likelihood of the whole target under the very same prompt
    target_tokens: int
    prompt_id: str  # 16 hex digits: arms with the same one read the same prompt and share what was computed
    prompt_tokens: int
    reused_tokens: int  # of the prompt, computed for the arm before: missing in `seconds`
    cross_file_tokens: int
    candidates: int
    kept: int
    seconds: dict[str, float]  # by stage, in the order they ran
    chunks: tuple[ChunkUse, ...]  # the candidates, best first

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The result of a line that `dataclasses.asdict` made; KeyError or TypeError where it is none."""
        known = {field.name: values[field.name] for field in fields(cls)}
        for field in fields(cls):
            _check(field.name, known[field.name], str(field.type))
        for stage, seconds in known["seconds"].items():
            _check(f"seconds of {stage}", seconds, "float")
        return cls(**{**known, "chunks": tuple(ChunkUse(**chunk) for chunk in known["chunks"])})

    @property
    def abstained(self) -> bool:
        """Nothing was written, or only white space."""
        return self.prediction is not None and not self.prediction.strip()

    @property
    def first_token_seconds(self) -> float:
        """Until the prompt was read: every stage but the writing; a draft that stands is written by then."""
        return sum(seconds for stage, seconds in self.seconds.items() if stage != "write")


_KINDS = {"str": str, "int": int, "float": int | float, "bool": bool, "dict[str, float]": dict}


def _check(name: str, value: object, kind: str) -> None:
    """TypeError where a value that was read is not what its field takes; NaN and infinity are no figures."""
    expected = _KINDS.get(kind.removesuffix(" | None"), object)
    if value is None and kind.endswith(" | None"):
        return
    if not isinstance(value, expected) or (isinstance(value, float) and not math.isfinite(value)):
        raise TypeError(f"{name} is {value!r}")


@dataclass(frozen=True)
class TaskError:
    """A task that an arm could not do."""

    task_id: str
    arm: str
    error: str  # its type
    message: str


@dataclass(frozen=True)
class TaskContext:
    """What was around a task's target, as the first arm's prompt shows it."""

    task_id: str
    repository: str
    path: str
    language: str
    level: str
    start_line: int  # of the target
    end_line: int
    prefix_start_line: int
    prefix: str
    suffix: str
    target: str


@dataclass(frozen=True)
class ChunkText:
    """The text of a candidate."""

    chunk_id: str
    repository: str
    path: str
    start_line: int
    end_line: int
    text: str


Finding = TaskContext | ChunkText | TaskResult | TaskError
"""One line of a run's files."""

"""Results and runs that no model made, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codefilter.config import Settings
from codefilter.evaluation.records import RunPlan, begin_run
from codefilter.evaluation.results import ChunkText, ChunkUse, TaskContext, TaskResult
from codefilter.evaluation.storage import RunWriter
from codefilter.lm.base import ModelIdentity

PLAN = RunPlan(
    benchmark="fresh",
    data_sha256="d" * 64,
    levels="line",
    limit=None,
    seed=0,
    shard="1/1",
    tasks=2,
    arms=("none", "all"),
    writes=True,
    metric_family="repocoder",
    model=ModelIdentity("fake", "a" * 64, "qwen2.5-coder"),
    engine="no weights",
    settings=Settings(model="fake"),
)
USE = ChunkUse("c0", "lib.py", 0, 2, 1.5, True, True, "positive", 0.75, "it helps")


def made_result(
    task_id: str = "r0/a.py:1-1/line",
    arm: str = "none",
    *,
    nats: float = -10.0,
    es: float | None = 50.0,
    tokens: int = 10,
    cross_file_tokens: int = 0,
    level: str = "line",
    prediction: str | None = "x = 1",
    chunks: Sequence[ChunkUse] = (),
) -> TaskResult:
    """A result; the repository is what stands before the first slash."""
    return TaskResult(
        task_id=task_id,
        repository=task_id.split("/")[0],
        level=level,
        language="python",
        arm=arm,
        target="x = compute(1)",
        prediction=prediction,
        exact_match=None if es is None else float(es == 100.0),
        edit_similarity=es,
        identifier_exact_match=None if es is None else 0.0,
        identifier_f1=es,
        valid_in_place=None if es is None else True,
        finish_reason=None if es is None else "lines",
        target_nats=nats,
        target_tokens=tokens,
        prompt_id=f"{arm}-{task_id}",
        prompt_tokens=100 + cross_file_tokens,
        reused_tokens=0,
        cross_file_tokens=cross_file_tokens,
        candidates=len(chunks),
        kept=sum(chunk.used for chunk in chunks),
        seconds={"retrieve": 0.5, "read": 1.0, "write": 2.0},
        chunks=tuple(chunks),
    )


def write_run(folder: Path, results: Sequence[TaskResult], plan: RunPlan = PLAN) -> Path:
    """A run's folder with these results, and texts around them."""
    arms = tuple(dict.fromkeys(result.arm for result in results))
    begin_run(replace(plan, arms=arms), folder)
    with RunWriter(folder) as writer:
        for result in results:
            writer.add(
                TaskContext(
                    result.task_id,
                    result.repository,
                    "a.py",
                    "python",
                    result.level,
                    1,
                    2,
                    0,
                    "import lib\n",
                    "\nprint(x)\n",
                    result.target,
                )
            )
            for chunk in result.chunks:
                text = "def compute(n):\n    return n\n"
                writer.add(ChunkText(chunk.chunk_id, result.repository, chunk.path, 0, 2, text))
            writer.add(result)
    return folder

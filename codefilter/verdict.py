"""Is my repository used, and does it help? One repository's results, answered in sentences.

In: results of a baseline without other files and of an arm with them. Out: a `Verdict` and its sentences.
Notable: the answer is "cannot tell" unless the interval of the likelihood's difference leaves zero out;
twenty tasks are few, and exact matches among them fewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from codefilter.comparison import Interval, compare
from codefilter.evaluation.results import TaskResult

_FILES = 5


class Answer(StrEnum):
    """Whether text of other files helps here."""

    YES = "yes"
    NO = "no, it makes completions worse"
    UNCLEAR = "cannot tell"


@dataclass(frozen=True)
class Verdict:
    """What one arm made of the repository."""

    arm: str
    baseline: str
    tasks: int
    tasks_with_chunks: int
    chunks_per_task: float
    cross_file_tokens: float
    files: tuple[tuple[str, int], ...]  # most used, with the number of tasks
    more_likely: int  # tasks whose truth is more likely than under the baseline
    less_likely: int
    nats_per_token: Interval  # difference
    exact: int | None  # None where nothing was written
    exact_of_baseline: int | None

    @property
    def answer(self) -> Answer:
        """By the likelihood of the truth, the most sensitive figure."""
        if not self.nats_per_token.excludes_zero:
            return Answer.UNCLEAR
        return Answer.YES if self.nats_per_token.value > 0 else Answer.NO


def judge(results: Sequence[TaskResult], arm: str, baseline: str) -> Verdict:
    """Hold an arm against a baseline on the tasks that both have.

    Raises:
        ValueError: they have no task in common.
    """
    found = [c for c in compare(results, baseline, "", ["nats", "em"]) if c.arm == arm]
    nats = [c for c in found if c.metric == "nats"]
    if not nats:
        raise ValueError(f"{arm} and {baseline} have no task in common")
    whole = nats[-1]  # all levels together come last
    exact = [c for c in found if c.metric == "em"]
    common = {result.task_id for result in results if result.arm == baseline}
    rows = [result for result in results if result.arm == arm and result.task_id in common]
    used = [{chunk.path for chunk in row.chunks if chunk.used} for row in rows]
    files = Counter(path for paths in used for path in paths)
    return Verdict(
        arm=arm,
        baseline=baseline,
        tasks=len(rows),
        tasks_with_chunks=sum(row.kept > 0 for row in rows),
        chunks_per_task=sum(row.kept for row in rows) / len(rows),
        cross_file_tokens=sum(row.cross_file_tokens for row in rows) / len(rows),
        files=tuple(files.most_common(_FILES)),
        more_likely=whole.wins,
        less_likely=whole.losses,
        nats_per_token=whole.difference,
        exact=round(exact[-1].arm_value.value * exact[-1].tasks / 100) if exact else None,
        exact_of_baseline=round(exact[-1].baseline_value.value * exact[-1].tasks / 100) if exact else None,
    )


def sentences(verdict: Verdict) -> list[str]:
    """The verdict for people."""
    said = [
        f"Is the repository used? In {verdict.tasks_with_chunks} of {verdict.tasks} places {verdict.arm} put "
        f"text of other files into the prompt: {verdict.chunks_per_task:.1f} chunks, "
        f"{verdict.cross_file_tokens:.0f} tokens on average."
    ]
    if verdict.files:
        files = ", ".join(f"{path} ({count})" for path, count in verdict.files)
        said.append(f"Most used: {files}.")
    said.append(
        f"Does it help? {verdict.answer.value.capitalize()}. Against {verdict.baseline} the true code is "
        f"more likely in {verdict.more_likely} places and less likely in {verdict.less_likely}: "
        f"{verdict.nats_per_token.show_signed(3)} nats per token (95 % interval)."
    )
    if verdict.exact is not None:
        said.append(
            f"Exactly right: {verdict.exact} of {verdict.tasks} places, {verdict.exact_of_baseline} under "
            f"{verdict.baseline}."
        )
    return said

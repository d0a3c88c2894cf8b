"""Is my repository used, and does it help: the answer follows the figures, and few tasks give none."""

from collections.abc import Sequence

import pytest

from codefilter.evaluation.results import TaskResult
from codefilter.verdict import Answer, judge, sentences
from tests.made_results import USE, made_result


def results(gains: Sequence[float]) -> list[TaskResult]:
    rows = []
    for number, gain in enumerate(gains):
        task_id = f"mine/a.py:{number}/line"
        rows.append(made_result(task_id, "none", nats=-10.0, es=50.0))
        rows.append(
            made_result(
                task_id,
                "all",
                nats=-10.0 + gain,
                es=100.0 if gain > 2 else 50.0,
                cross_file_tokens=300 if gain else 0,
                chunks=[USE] if gain else [],
            )
        )
    return rows


def test_help_that_is_sure_is_told() -> None:
    verdict = judge(results([3, 2, 2, 1, 3, 0, -1, 2, 2, 1]), "all", "none")
    assert verdict.answer is Answer.YES
    assert (verdict.tasks, verdict.tasks_with_chunks) == (10, 9)
    assert (verdict.more_likely, verdict.less_likely) == (8, 1)
    assert (verdict.exact, verdict.exact_of_baseline) == (2, 0)
    assert verdict.files == (("lib.py", 9),)
    said = " ".join(sentences(verdict))
    assert "In 9 of 10 places" in said
    assert "Does it help? Yes." in said
    assert "Exactly right: 2 of 10 places, 0 under none." in said


@pytest.mark.parametrize(
    ("gains", "answer"),
    [
        ([-3, -2, -2, -1, -3, -2], Answer.NO),
        ([3, -3, 2, -2, 1, -1, 4, -4], Answer.UNCLEAR),
        ([0.0] * 8, Answer.UNCLEAR),
        ([5, 5, 5], Answer.UNCLEAR),  # too few to say
    ],
)
def test_harm_and_doubt_are_told(gains: list[float], answer: Answer) -> None:
    assert judge(results(gains), "all", "none").answer is answer


def test_without_a_common_task_there_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="no task in common"):
        judge([made_result("r/x", "all"), made_result("r/y", "none")], "all", "none")

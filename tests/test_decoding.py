"""Stop rules of the decode loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codefilter.lm.base import GenerationOptions
from codefilter.lm.decoding import common_prefix_length, log_softmax
from codefilter.lm.fake import FakeLanguageModel
from codefilter.lm.writing import Output, cut_after_lines
from codefilter.types import FinishReason


@pytest.mark.parametrize(
    ("text", "max_lines", "expected"),
    [
        ("x = 1\ny", 1, "x = 1"),
        ("x = 1", 1, None),
        ("\n    return 1\nz", 1, "\n    return 1"),  # after a complete line its end is not a line of its own
        ("\n\n", 1, None),
        ("a\nb\nc", 2, "a\nb"),
        ("a\n\nb\n", 2, "a\n\nb"),
        ("a\nb", None, None),
    ],
)
def test_cut_after_lines(text: str, max_lines: int | None, expected: str | None) -> None:
    assert cut_after_lines(text, max_lines) == expected


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_common_prefix_length(first: list[int], second: list[int]) -> None:
    length = common_prefix_length(first, second)
    assert first[:length] == second[:length]
    assert length == min(len(first), len(second)) or first[length] != second[length]


def test_log_softmax_sums_to_one_and_survives_large_logits() -> None:
    values = log_softmax(np.array([1e4, 1e4 - 1, -1e4], np.float32))
    assert np.exp(values).sum() == pytest.approx(1)


def test_line_limits_cut_the_text() -> None:
    model = FakeLanguageModel()
    prompt = list(b"total = left + right; done\nnext = 1\ntotal = le")
    by_line = model.generate(prompt, GenerationOptions(max_lines=1))[0]
    assert (by_line.text, by_line.finish_reason) == ("ft + right; done", FinishReason.LINES)
    by_length = model.generate(prompt, GenerationOptions(max_new_tokens=10))[0]
    assert (by_length.text, by_length.finish_reason) == ("ft + right", FinishReason.LENGTH)


@pytest.mark.parametrize("pieces", [["a", ";", "\n", "b"], ["a;\n", "b"], ["a", ";\nb"], ["a;\nb"]])
def test_output_does_not_depend_on_how_many_tokens_come_at_a_time(pieces: list[str]) -> None:
    output = Output(GenerationOptions(max_lines=1))
    assert any(output.append(piece.encode(), [ord(c) for c in piece], []) for piece in pieces)
    result = output.result(0, 0.0)
    assert (result.text, result.finish_reason) == ("a;", FinishReason.LINES)


def test_who_types_on_gets_the_rest_of_the_last_suggestion_in_fewer_passes() -> None:
    """The model copies a line; its end, asked for again, is checked and not written anew."""
    text = "total = left.first + right.second\n\n\n"
    options = GenerationOptions(max_lines=1, max_new_tokens=64)
    prompt = (text + "other = left.fir").encode()
    alone, known = FakeLanguageModel(), FakeLanguageModel()
    first = known.generate(list(prompt), options)[0]
    known.generate(list((text + "other = lef").encode()), options)
    again = known.generate(list(prompt), options)[0]
    plain = alone.generate(list(prompt), GenerationOptions(max_lines=1, max_new_tokens=64, speculate=False))[
        0
    ]
    assert again.text == first.text == plain.text == "st + right.second"
    assert again.num_passes <= first.num_passes < plain.num_passes

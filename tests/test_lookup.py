"""Drafts from the prompt."""

from hypothesis import given
from hypothesis import strategies as st

from codefilter.lm.lookup import NGRAM_LENGTHS, NgramIndex


def naive_draft(ids: list[int], limit: int) -> list[int]:
    for length in NGRAM_LENGTHS:
        for end in range(len(ids) - 1, length - 1, -1):
            if len(ids) >= length and ids[end - length : end] == ids[-length:]:
                return ids[end : end + limit]
    return []


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=10))
def test_the_index_equals_a_search_from_the_end(prompt: list[int], written: list[int]) -> None:
    index = NgramIndex(prompt)
    index.extend(written)
    assert index.draft(5) == naive_draft(prompt + written, 5)


def test_what_is_new_gives_no_draft() -> None:
    assert NgramIndex([1, 2, 3, 4, 5]).draft(8) == []
    assert NgramIndex([]).draft(8) == []

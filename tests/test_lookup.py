"""Drafts from the prompt."""

from hypothesis import given
from hypothesis import strategies as st

from codefilter.lm.lookup import FIRST_DRAFT_TOKENS, NGRAM_LENGTHS, NgramIndex, next_draft_tokens


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


def test_the_rest_of_an_earlier_output_is_a_draft() -> None:
    outputs = [[7, 8, 9, 10], [1, 2, 3, 4, 5, 6]]
    assert NgramIndex([1, 0, 2, 3], outputs).draft(8) == [4, 5, 6]
    assert NgramIndex([1, 0, 9], outputs).draft(8) == [10]  # one token is enough there, not in the prompt
    assert NgramIndex([2, 3, 1, 2, 3], outputs).draft(2) == [4, 5]  # rather than what the prompt says
    assert NgramIndex([5, 5, 1, 5, 5], outputs).draft(1) == [1]
    assert NgramIndex([6], outputs).draft(8) == []  # nothing followed
    assert NgramIndex([2, 3], [*outputs, [2, 3, 0]]).draft(8) == [0]  # the last one


def test_what_is_new_gives_no_draft() -> None:
    assert NgramIndex([1, 2, 3, 4, 5]).draft(8) == []
    assert NgramIndex([]).draft(8) == []


def test_a_draft_has_to_earn_its_length() -> None:
    limit = FIRST_DRAFT_TOKENS
    for expected in (4, 8, 8):
        limit = next_draft_tokens(limit, drafted=limit, confirmed=limit)
        assert limit == expected
    assert next_draft_tokens(8, drafted=8, confirmed=3) == 3
    assert next_draft_tokens(3, drafted=3, confirmed=0) == 1
    assert next_draft_tokens(1, drafted=1, confirmed=1) == 2
    assert next_draft_tokens(4, drafted=0, confirmed=0) == 4  # nothing was tried
    assert next_draft_tokens(4, drafted=2, confirmed=2) == 8  # all that the prompt had

"""The word at the end of a text: what a search from the beginning finds, in time that grows with the text."""

import re

from hypothesis import given
from hypothesis import strategies as st

from codefilter.words import LETTERS, WORD, start_of_last

TEXTS = st.text(st.sampled_from("aé_1٣ .(€\n") | st.characters())


@given(text=TEXTS)
def test_the_last_run_begins_where_a_search_finds_it(text: str) -> None:
    assert text[: start_of_last(WORD, text)] == re.sub(r"\w+\Z", "", text)
    assert text[: start_of_last(LETTERS, text)] == re.sub(r"[^\W\d_]+\Z", "", text)


def test_a_long_run_elsewhere_costs_nothing() -> None:
    """A search from the beginning takes minutes for this."""
    assert start_of_last(WORD, "0f" * 500_000 + "-compute_w") == 1_000_001
    assert start_of_last(LETTERS, "a" * 1_000_000 + ".retu") == 1_000_001

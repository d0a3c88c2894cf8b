"""Near-duplicates are found whatever the layout, what is merely alike is not, and the figure is exact."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codefilter.near_duplicates import find_near_duplicates

FUNCTION = """def total_price(articles, discount=0.0):
    total = 0.0
    for article in articles:
        total += article.price * article.amount
    if discount:
        total *= 1 - discount
    return round(total, 2)
"""
OTHER = """class Reader:
    def __init__(self, path):
        self._file = open(path, encoding="utf-8")

    def lines(self):
        for line in self._file:
            yield line.rstrip()
"""


def test_a_copy_in_another_layout_is_found() -> None:
    reshaped = FUNCTION.replace("    ", "\t").replace(", ", ",").replace("\n", "\n\n")
    (found,) = find_near_duplicates([("copy", reshaped)], [("other", OTHER), ("original", FUNCTION)])
    assert (found.item_id, found.reference_id, found.similarity) == ("copy", "original", 1.0)


def test_one_changed_name_stays_a_near_duplicate_and_the_similarity_says_how_near() -> None:
    changed = FUNCTION.replace("round(total, 2)", "round(total, 3)")
    (found,) = find_near_duplicates([("changed", changed)], [("original", FUNCTION)])
    assert 0.8 < found.similarity < 1.0


def test_the_most_similar_reference_is_named() -> None:
    near = FUNCTION.replace("round(total, 2)", "round(total, 3)")
    (found,) = find_near_duplicates([("x", FUNCTION)], [("near", near), ("same", FUNCTION)], threshold=0.5)
    assert found.reference_id == "same"


def test_with_a_threshold_of_one_only_the_same_tokens_count() -> None:
    items = [("copy", FUNCTION.replace(", ", ",")), ("changed", FUNCTION.replace("round", "floor"))]
    found = find_near_duplicates(items, [("original", FUNCTION)], threshold=1.0)
    assert [(duplicate.item_id, duplicate.similarity) for duplicate in found] == [("copy", 1.0)]


def test_other_code_is_none() -> None:
    assert find_near_duplicates([("x", OTHER), ("empty", " \n")], [("y", FUNCTION), ("nothing", "")]) == []


def test_texts_shorter_than_a_run_are_compared_whole() -> None:
    found = find_near_duplicates([("a", "x = 1"), ("b", "x = 2")], [("r", "x  =  1")])
    assert [duplicate.item_id for duplicate in found] == ["a"]


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        find_near_duplicates([], [], threshold)


TOKENS = ("a", "b", "c", "d", "(", ")", ".", "=", "1", "foo", "é", "\ud800")
words = st.lists(st.sampled_from(TOKENS), max_size=40).map(" ".join)


@given(st.lists(words, max_size=4), st.lists(words, max_size=4))
@settings(max_examples=50)
def test_it_agrees_with_comparing_every_pair(items: list[str], references: list[str]) -> None:
    def runs(text: str) -> set[tuple[str, ...]]:
        tokens = text.split()
        length = min(5, len(tokens))
        return {tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1)} if tokens else set()

    found = find_near_duplicates(
        [(str(i), text) for i, text in enumerate(items)],
        [(str(i), text) for i, text in enumerate(references)],
        threshold=0.7,
    )
    rated = {
        str(i): max((len(runs(a) & runs(b)) / len(runs(a) | runs(b)) for b in references if b), default=0.0)
        for i, a in enumerate(items)
        if a
    }
    assert {f.item_id for f in found} <= {i for i, best in rated.items() if best >= 0.7}  # nothing invented
    for duplicate in found:
        assert duplicate.similarity == pytest.approx(rated[duplicate.item_id])
    sure = {i for i, best in rated.items() if best == 1.0}  # proposing may miss pairs near the threshold only
    assert sure <= {f.item_id for f in found}

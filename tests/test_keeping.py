"""Going back to earlier prompts: which states are kept, found and forgotten."""

import pytest

from codefilter.lm.keeping import Kept, KeptStates


@pytest.fixture(autouse=True)
def short_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codefilter.lm.keeping.MIN_TOKENS", 3)


def never() -> str:
    raise AssertionError("this state is not worth a copy")


def test_a_state_that_would_be_lost_is_kept_and_found_again() -> None:
    states: KeptStates[str] = KeptStates(100)
    assert states.exchange([1, 2, 3, 4], [5, 6, 7, 8], lambda: "first") is None
    found = states.exchange([5, 6, 7, 8], [1, 2, 3, 4, 9], lambda: "second")
    assert found == Kept((1, 2, 3, 4), "first")
    assert states.exchange([1, 2, 3, 4, 9], [5, 6, 7, 0], lambda: "first again") == Kept(
        (5, 6, 7, 8), "second"
    )


def test_what_stays_or_is_short_is_not_copied() -> None:
    states: KeptStates[str] = KeptStates(100)
    assert states.exchange([1, 2, 3, 4], [1, 2, 3, 4, 5], never) is None  # typed on
    assert states.exchange([1, 2, 3, 4], [1, 2, 9], never) is None  # two tokens are lost
    assert states.exchange([1, 2], [3], never) is None


def test_a_state_is_not_taken_for_a_few_tokens_more() -> None:
    states: KeptStates[str] = KeptStates(100)
    states.exchange([1, 2, 3, 4], [1, 7, 8], lambda: "first")
    assert states.exchange([1, 7, 8], [1, 2, 3, 9], never) is None  # it would spare two tokens


def test_the_least_recently_used_go_first_and_older_states_of_the_same_text_at_once() -> None:
    states: KeptStates[str] = KeptStates(10)
    states.exchange([1, 1, 1, 1], [9], lambda: "ones")
    states.exchange([2, 2, 2, 2], [9], lambda: "twos")
    states.exchange([2, 2, 2, 2, 2], [9], lambda: "more twos")  # replaces the twos
    assert states.exchange([9], [1, 1, 1, 1, 5], never) == Kept((1, 1, 1, 1), "ones")
    states.exchange([1, 1, 1, 1, 5], [9], lambda: "ones")
    states.exchange([3, 3, 3, 3], [9], lambda: "threes")  # too many now: the twos go
    assert states.exchange([9], [2, 2, 2, 2], never) is None
    assert states.exchange([9], [1, 1, 1, 1], never) == Kept((1, 1, 1, 1, 5), "ones")


def test_what_can_be_found_again_is_known_before() -> None:
    states: KeptStates[str] = KeptStates(100)
    states.exchange([1, 2, 3, 4], [5, 6, 7], lambda: "first")
    held, wanted = [5, 6, 7], [1, 2, 3, 9]
    assert states.reusable_tokens(held, wanted) == 3
    assert states.reusable_tokens(held, [5, 6, 9]) == 2  # held already
    assert states.reusable_tokens(held, [1, 2, 9]) == 0  # two tokens are not worth the exchange
    assert states.exchange(held, wanted, lambda: "second") == Kept((1, 2, 3, 4), "first")


def test_a_state_larger_than_all_of_it_is_not_copied() -> None:
    assert KeptStates[str](3).exchange([1, 2, 3, 4], [9], never) is None

"""Filters that need no training: which chunks they keep, how many tokens that is, and what they refuse."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codefilter.errors import FilterError, UsageError
from codefilter.filters.base import USUAL_CANDIDATES, FilterContext, Reader, worth_showing
from codefilter.filters.drafts import DraftFeatures, draft_features
from codefilter.filters.table import get_filter
from codefilter.prompts.in_file import InFileContext
from codefilter.types import (
    Chunk,
    CompletionRequest,
    FilterDecision,
    LogLikelihood,
    Polarity,
    RetrievedChunk,
)

REQUEST = CompletionRequest("app.py", "total = compute_", "", "python")
IN_FILE = InFileContext("", "total = compute_", "", 0)


def candidates(lengths: Sequence[int]) -> list[RetrievedChunk]:
    """Chunks whose text has as many characters as tokens are wanted."""
    return [
        RetrievedChunk(Chunk(f"lib{i}.py", "x" * length, 0, 1, "python"), 10.0 - i, i, "bm25")
        for i, length in enumerate(lengths)
    ]


def context(budget_tokens: int = 1000, reader: Reader | None = None) -> FilterContext:
    return FilterContext(IN_FILE, budget_tokens, lambda chunk: len(chunk.text), reader)


def kept(decisions: Sequence[FilterDecision]) -> list[int]:
    return [d.candidate.rank for d in decisions if d.keep]


@given(st.lists(st.booleans(), max_size=40))
def test_what_is_kept_is_shown_and_of_the_dropped_the_first(keeps: list[bool]) -> None:
    decisions = [
        FilterDecision(candidate, keep, Polarity.UNKNOWN, 1.0, "")
        for candidate, keep in zip(candidates([1] * len(keeps)), keeps, strict=True)
    ]
    shown = worth_showing(decisions)
    assert kept(shown) == kept(decisions)
    dropped = [d.candidate.rank for d in shown if not d.keep]
    assert dropped == [rank for rank, keep in enumerate(keeps) if not keep][: len(dropped)]
    assert len(shown) == min(len(keeps), max(USUAL_CANDIDATES, sum(keeps)))
    assert [d.candidate.rank for d in shown] == sorted(d.candidate.rank for d in shown)


@given(st.lists(st.integers(1, 50), max_size=12), st.integers(0, 200), st.integers(0, 5))
def test_random_fills_the_budget_and_depends_on_seed_and_request_only(
    lengths: list[int], budget: int, seed: int
) -> None:
    found = candidates(lengths)
    decisions = get_filter(f"random:{seed}").decide(REQUEST, found, context(budget))
    total = sum(len(d.candidate.chunk.text) for d in decisions if d.keep)
    assert total <= budget
    assert all(len(d.candidate.chunk.text) > budget - total for d in decisions if not d.keep)
    again = get_filter(f"random:{seed}").decide(REQUEST, found[::-1], context(budget))
    assert sorted(kept(again)) == sorted(kept(decisions))


def test_random_draws_differently_with_another_seed_and_at_another_place() -> None:
    found = candidates([10] * 10)
    draws = {tuple(kept(get_filter(f"random:{s}").decide(REQUEST, found, context(30)))) for s in range(8)}
    assert len(draws) > 1
    places = [replace(REQUEST, prefix=f"x = {i}\n") for i in range(8)]
    draws = {tuple(kept(get_filter("random").decide(place, found, context(30)))) for place in places}
    assert len(draws) > 1


@pytest.mark.parametrize("kind", ["random-like", "top-k-like"])
@given(st.lists(st.integers(1, 50), max_size=10), st.integers(0, 10), st.integers(0, 5))
def test_a_matched_control_spends_what_its_reference_does(
    kind: str, lengths: list[int], count: int, place: int
) -> None:
    found, request = candidates(lengths), replace(REQUEST, prefix=f"x = {place}\n")
    decisions = get_filter(f"{kind}:score:{10.5 - count}").decide(request, found, context())
    wanted = sum(lengths[:count])
    spent = sum(lengths[rank] for rank in kept(decisions))
    assert abs(spent - wanted) <= max(lengths, default=0) / 2
    assert all(
        f"{spent} tokens are kept, score:{10.5 - count:g} keeps {wanted}" in d.reason for d in decisions
    )


def test_a_matched_control_chooses_by_its_own_order_within_the_budget() -> None:
    found = candidates([10, 30, 10, 10, 10])
    wanted = [replace(one, score=float(one.rank in (3, 4))) for one in found]  # 20 tokens
    by_rank = get_filter("top-k-like:score:1").decide(REQUEST, wanted, context())
    assert kept(by_rank) == [0, 2]  # with the second the total would be farther from 20
    draws = {
        tuple(kept(get_filter("random-like:score:1").decide(place, wanted, context())))
        for place in (replace(REQUEST, prefix=f"x = {i}\n") for i in range(8))
    }
    assert len(draws) > 1
    assert kept(get_filter("top-k-like:all").decide(REQUEST, found, context(25))) == [0, 2]  # as `all` itself
    assert kept(get_filter("top-k-like:none").decide(REQUEST, found, context())) == []


def test_score_keeps_what_the_retriever_gave_enough() -> None:
    decisions = get_filter("score:8.5").decide(REQUEST, candidates([1, 1, 1]), context())
    assert kept(decisions) == [0, 1]
    assert decisions[2].reason == "bm25 8, threshold 8.5"


class PlannedReader:
    """A reader whose entropies are planned: what is left with each chunk, 1 nat without."""

    model_name, model_sha256 = "planned", "0" * 64

    def __init__(self, with_chunk: Sequence[float], measured: bool = True) -> None:
        self.with_chunk, self.measured = with_chunk, measured

    def write_draft(self, num_tokens: int) -> tuple[int, ...]:
        return (1, 2)

    def read_draft(self, draft: tuple[int, ...], chunks: Sequence[RetrievedChunk]) -> LogLikelihood:
        entropy = self.with_chunk[chunks[0].rank] if chunks else 1.0
        entropies = (entropy, entropy) if self.measured else ()
        return LogLikelihood(-2.0, (-1.0, -1.0), entropies)


def test_perplexity_keeps_what_makes_the_model_surer_the_best_first() -> None:
    reader = PlannedReader([0.9, 0.2, 1.5, 0.98])
    decisions = get_filter("perplexity:0.05").decide(REQUEST, candidates([1] * 4), context(reader=reader))
    assert kept(decisions) == [0, 1]
    assert decisions[1].confidence > decisions[0].confidence
    assert decisions[1].polarity is Polarity.POSITIVE
    assert decisions[2].reason.startswith("-0.50 nats")


def test_perplexity_without_reader_or_entropies_is_an_error() -> None:
    with pytest.raises(FilterError, match="needs a model"):
        get_filter("perplexity").decide(REQUEST, candidates([1]), context())
    reader = PlannedReader([0.5], measured=False)
    with pytest.raises(FilterError, match="how certain"):
        get_filter("perplexity").decide(REQUEST, candidates([1]), context(reader=reader))


def test_the_features_of_a_draft_by_hand() -> None:
    alone = LogLikelihood(-6.0, (-1.0, -2.0, -3.0), (0.5, 1.0, 1.5))
    behind = LogLikelihood(-5.0, (-0.5, -0.5, -4.5), (0.25, 1.0, 0.5))
    found = draft_features(alone, behind)  # gains 0.5, 1.5, -1.5; falls 0.25, 0, 1
    assert found.gain == pytest.approx(1 / 6)
    assert (found.gain_most, found.gain_least, found.gain_first) == (1.5, -1.5, 0.5)
    assert found.gain_size == pytest.approx(3.5 / 3)
    assert found.gain_spread == pytest.approx(((1 / 9 + 16 / 9 + 25 / 9) / 3) ** 0.5)
    assert found.lost == pytest.approx(1 / 3)
    assert found.fall == pytest.approx(1.25 / 3)
    assert (found.fall_most, found.fall_least, found.fall_first) == (1.0, 0.0, 0.25)
    assert found.entropy == pytest.approx(1.75 / 3)
    assert draft_features(LogLikelihood(0.0, ()), LogLikelihood(0.0, ())) == DraftFeatures()


@pytest.mark.parametrize(
    "name",
    [
        "random:x",
        "random:-1",
        "random:" + "9" * 5_000,
        "top-k:0",
        "top-k:" + "9" * 5_000,
        "score",
        "score:high",
        "score:nan",
        "score:inf",
        "perplexity:-1",
        "perplexity:nan",
        "perplexity:inf",
        "all:3",
        "none:x",
        "random-like",
        "top-k-like:best",
        "best",
    ],
)
def test_wrong_arguments_are_usage_errors(name: str) -> None:
    with pytest.raises(UsageError):
        get_filter(name)


@pytest.mark.parametrize(
    "name", ["none", "all", "top-k:2", "threshold:0.2", "score:3", "random:4", "random-like:all"]
)
def test_a_filter_is_called_what_it_calls_itself(name: str) -> None:
    assert get_filter(name).name == name
    decisions = get_filter(name).decide(REQUEST, candidates([5, 5, 5]), context())
    assert [d.candidate.rank for d in decisions] == [0, 1, 2]

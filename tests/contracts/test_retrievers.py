"""What every registered retriever must do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codefilter.config import Settings
from codefilter.errors import UsageError
from codefilter.index import RepositoryIndex
from codefilter.languages import language_of
from codefilter.retrieval.base import RetrievalQuery
from codefilter.retrieval.table import RETRIEVERS, get_retriever
from codefilter.types import CompletionRequest

REPORT = """from shop.orders import Order
from shop.pricing import price_with_tax


def print_order(order: Order) -> None:
    print(order.customer, price_with_tax(order."""


def query(
    prefix: str = REPORT, suffix: str = "))\n", path: str = "shop/invoice.py", start: int = 0
) -> RetrievalQuery:
    return RetrievalQuery(CompletionRequest(path, prefix, suffix, language_of(path)), start)


@pytest.fixture(params=["syntax", "window"])
def index(request: pytest.FixtureRequest, sample_repository: Path) -> RepositoryIndex:
    return RepositoryIndex.open(sample_repository, chunker=request.param)


@pytest.mark.parametrize("name", RETRIEVERS)
def test_it_finds_what_the_place_needs(name: str, index: RepositoryIndex) -> None:
    found = get_retriever(name, index).retrieve(query(), 10)
    assert {"shop/orders.py", "shop/pricing.py"} <= {candidate.chunk.path for candidate in found}
    assert {candidate.retriever for candidate in found} == {name}


@pytest.mark.parametrize("name", RETRIEVERS)
def test_candidates_are_ranked_distinct_and_from_the_index(name: str, index: RepositoryIndex) -> None:
    retriever = get_retriever(name, index)
    assert retriever.name == name
    found = retriever.retrieve(query(), 10)
    assert [candidate.rank for candidate in found] == list(range(len(found)))
    assert [candidate.score for candidate in found] == sorted((c.score for c in found), reverse=True)
    assert len({candidate.chunk for candidate in found}) == len(found)
    assert {candidate.chunk for candidate in found} <= set(index.chunks())
    for k in (0, 1, 3):
        assert retriever.retrieve(query(), k) == found[:k]
    assert retriever.retrieve(query(), 10) == found


@pytest.mark.parametrize("name", RETRIEVERS)
@pytest.mark.parametrize("start", [0, 6, 10])
def test_the_own_file_shows_nothing_at_or_after_the_in_file_context(
    name: str, start: int, index: RepositoryIndex
) -> None:
    text = index.file_text("shop/orders.py")
    here = query(text[:300], text[300:], "shop/orders.py", start)
    found = get_retriever(name, index).retrieve(here, 100)
    own = [candidate.chunk for candidate in found if candidate.chunk.path == "shop/orders.py"]
    assert all(chunk.end_line <= start for chunk in own)


@pytest.mark.parametrize("name", RETRIEVERS)
def test_it_sees_changes_at_once(name: str, index: RepositoryIndex) -> None:
    retriever = get_retriever(name, index)
    retriever.retrieve(query(), 10)
    index.update_file(
        "shop/pricing.py", "def price_with_tax(net_price):\n    return 'changed in the editor'\n"
    )
    index.remove_file("shop/orders.py")
    found = retriever.retrieve(query(), 10)
    assert any("changed in the editor" in candidate.chunk.text for candidate in found)
    assert "shop/orders.py" not in {candidate.chunk.path for candidate in found}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", RETRIEVERS)
@given(
    prefix=st.text(max_size=60),
    suffix=st.text(max_size=60),
    path=st.sampled_from(["a.py", "b.ts", "c", "d.go"]),
)
def test_any_text_may_be_asked_for(
    name: str, prefix: str, suffix: str, path: str, sample_repository: Path
) -> None:
    retriever = get_retriever(name, RepositoryIndex.open(sample_repository))
    assert len(retriever.retrieve(query(prefix, suffix, path), 5)) <= 5
    assert retriever.retrieve(query("", "", path), 5) == []


def test_names_are_checked(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    assert Settings().retriever in RETRIEVERS
    with pytest.raises(UsageError, match="gone") as raised:
        get_retriever("gone", index)
    assert all(name in raised.value.hint for name in RETRIEVERS)

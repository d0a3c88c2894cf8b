"""Features of the late filter: values by hand, and that the truth on the disk does not leak into them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codefilter.filters.features import (
    COMPARED_CANDIDATES,
    FEATURE_NAMES,
    FeatureExtractor,
    group_columns,
    network_inputs,
)
from codefilter.filters.features.views import PlaceView, RepositoryFacts
from codefilter.index import RepositoryIndex
from codefilter.prompts.in_file import InFileContext
from codefilter.types import CompletionRequest, RetrievedChunk
from tests.labelled_repositories import ORDERS, SHOP_FILES, WEATHER_FILES, write_repository

PATH = "shop/orders.py"
LINES = ORDERS.split("\n")
HOLE = next(i for i, line in enumerate(LINES) if "costs = shipping_costs" in line)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "shop", SHOP_FILES | WEATHER_FILES)


def request_at(hole: int = HOLE, typed: str = "") -> CompletionRequest:
    prefix = "".join(f"{line}\n" for line in LINES[:hole]) + typed
    return CompletionRequest(PATH, prefix, "\n" + "\n".join(LINES[hole + 1 :]), "python")


def in_file(request: CompletionRequest, lines_before: int = 1000) -> InFileContext:
    *before, typed = request.prefix.split("\n")
    start = max(0, len(before) - lines_before)
    shown = "".join(f"{line}\n" for line in before[start:])
    return InFileContext(shown, typed, request.suffix, start)


def candidates(root: Path, paths: Sequence[str]) -> list[RetrievedChunk]:
    with RepositoryIndex.open(root) as index:
        chunks = list(index.chunks())
    found = [chunk for path in paths for chunk in chunks if chunk.path == path]
    return [RetrievedChunk(chunk, 10.0 - rank, rank, "hybrid") for rank, chunk in enumerate(found)]


def features(
    root: Path, request: CompletionRequest, found: Sequence[RetrievedChunk], lines_before: int = 1000
) -> dict[str, np.ndarray]:
    with RepositoryIndex.open(root) as index:
        extracted = FeatureExtractor(index).extract(request, in_file(request, lines_before), found)
    return {name: extracted.values[:, i] for i, name in enumerate(FEATURE_NAMES)}


def row_of(found: Sequence[RetrievedChunk], symbol: str) -> int:
    return next(i for i, c in enumerate(found) if c.chunk.symbol == symbol)


def test_names_and_definitions(root: Path) -> None:
    found = candidates(root, ["shop/quotes.py", "shop/pricing.py", "weather/fog.py"])
    values = features(root, request_at(), found)
    quote, costs = row_of(found, "quote_of"), row_of(found, "shipping_costs_pricing")
    fog = next(i for i, c in enumerate(found) if c.chunk.path == "weather/fog.py")
    assert values["names.last"][quote] == 1.0  # net, sum, amount, price, for, in, order, amounts: all there
    assert values["names.last"][fog] < 0.2
    assert values["relation.imported"][costs] == 1.0  # from shop.pricing import ...
    assert values["relation.imported"][quote] == 0.0
    assert values["names.missing"][quote] > 0  # `costs`, which the next line needs, is there
    assert values["names.missing_assigned"][quote] == 1.0
    assert values["names.missing"][fog] == 0.0
    assert values["place.unused_imports"][0] > 0  # shipping_costs is imported, and used only in the hole
    assert values["names.calls_unused"][quote] == 1.0


def test_copying(root: Path) -> None:
    found = candidates(root, ["shop/quotes.py", "shop/refunds.py", "shop/stock.py"])
    values = features(root, request_at(), found)
    quote, refund = row_of(found, "quote_of"), row_of(found, "refund_of")
    stock = next(i for i, c in enumerate(found) if c.chunk.path == "shop/stock.py")
    for row in (quote, refund):
        assert values["copy.last"][row] == 1.0
        assert values["copy.aligned"][row] > 0.8 > values["copy.aligned"][stock]
        assert values["copy.follows"][row] > 0
    assert values["copy.run"][quote] > values["copy.run"][stock]
    assert values["copy.sandwich"][quote] > values["copy.sandwich"][stock]


def test_the_typed_part_counts(root: Path) -> None:
    found = candidates(root, ["shop/quotes.py", "shop/refunds.py"])
    values = features(root, request_at(typed="    costs = ship"), found)
    quote, refund = row_of(found, "quote_of"), row_of(found, "refund_of")
    assert values["copy.typed"][quote] == 1.0
    assert values["copy.typed"][refund] < 0.5
    assert values["place.typed"][0] == pytest.approx(np.log1p(len("costs = ship")))


def test_an_unfinished_word_finds_what_it_may_become(root: Path) -> None:
    found = candidates(root, ["shop/quotes.py", "shop/refunds.py"])
    values = features(root, request_at(typed="    costs = look"), found)
    quote, refund = row_of(found, "quote_of"), row_of(found, "refund_of")
    assert values["names.finishes"][quote] == 1.0  # lookup_discount
    assert values["names.finishes"][refund] == 0.0
    shown = features(root, request_at(typed="    costs = amou"), found)  # amounts stands in the file
    assert shown["names.finishes"][quote] == 0.0
    defined = features(root, request_at(typed="    costs = quote_"), found)
    assert defined["names.defines_finished"][quote] == 1.0
    assert not features(root, request_at(typed="    costs = l"), found)["names.finishes"].any()


@given(st.text(st.sampled_from("aé_1٣ .(€") | st.characters(exclude_characters="\n")))
def test_the_unfinished_word_is_what_stands_before_the_cursor(typed: str) -> None:
    facts = cast(RepositoryFacts, None)  # nothing is asked of the repository
    place = PlaceView(request_at(typed=typed), InFileContext("", typed, "", 0), facts)
    found = re.search(r"[^\W\d]\w+\Z", typed)
    assert place.unfinished == (found.group() if found else "")


def test_the_truth_on_the_disk_does_not_leak(root: Path) -> None:
    """What stands in the hole's line of the saved file changes no feature of any candidate."""
    request = request_at()
    found = candidates(root, ["shop/quotes.py", "shop/refunds.py", "shop/pricing.py", "shop/stock.py"])
    before = features(root, request, found)
    lines = list(LINES)
    lines[HOLE] = "    costs = xylophone_of(quagga, zebra_quagga(lookup_discount, taxes_pricing))"
    (root / PATH).write_text("\n".join(lines))
    after = features(root, request, found)
    for name in FEATURE_NAMES:
        np.testing.assert_allclose(before[name], after[name], atol=1e-6, err_msg=name)


def test_what_the_prompt_shows_is_what_counts(root: Path) -> None:
    found = candidates(root, ["shop/quotes.py"])
    wide = features(root, request_at(), found)
    narrow = features(root, request_at(), found, lines_before=1)
    assert wide["place.cut_before"][0] == 0.0
    assert narrow["place.cut_before"][0] == 1.0
    assert narrow["names.new_weight"][0] > wide["names.new_weight"][0]
    assert narrow["names.hidden"][0] > 0.0 == wide["names.hidden"][0]


def test_no_candidates_and_odd_places(root: Path) -> None:
    with RepositoryIndex.open(root) as index:
        extractor = FeatureExtractor(index)
        empty = CompletionRequest("shop/new.py", "", "", "python")
        assert extractor.extract(empty, in_file(empty), []).values.shape == (0, len(FEATURE_NAMES))
        found = candidates(root, ["shop/quotes.py"])
        values = extractor.extract(empty, in_file(empty), found).values
        assert np.isfinite(values).all()
        foreign = CompletionRequest("notes.txt", "some words\n", "", "text")
        assert np.isfinite(extractor.extract(foreign, in_file(foreign), found).values).all()


def test_the_chunks_that_were_asked_for_last_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codefilter.filters.features.table._CACHED_CHUNKS", 2)
    request = request_at()
    with RepositoryIndex.open(root) as index:
        extractor = FeatureExtractor(index)
        found = candidates(root, ["shop/quotes.py", "shop/orders.py"])
        assert len(found) > 2
        for candidate in (*found, found[0], found[1], found[0], found[2]):
            extractor.extract(request, in_file(request), [candidate])
        assert [*extractor._views] == [found[0].chunk, found[2].chunk]


def test_one_of_many_candidates_is_judged_like_one_of_ten(root: Path) -> None:
    paths = [f"shop/more{number}.py" for number in range(14)]
    for number, path in enumerate(paths):
        (root / path).write_text(
            f"def more{number}(amounts):\n    return lookup_discount(amounts[{number}])\n"
        )
    found = candidates(root, paths)
    assert len(found) > COMPARED_CANDIDATES + 2
    extractor = FeatureExtractor(RepositoryIndex.open(root))
    request = request_at()
    few, many = (
        extractor.extract(request, in_file(request), some).values
        for some in (found[:COMPARED_CANDIDATES], found)
    )
    compared = slice(COMPARED_CANDIDATES)
    np.testing.assert_array_equal(many[compared], few)
    np.testing.assert_array_equal(network_inputs(many)[compared], network_inputs(few))
    columns = [FEATURE_NAMES.index(f"retrieval.{name}") for name in ("rank", "score_lead")]
    np.testing.assert_array_equal(many[COMPARED_CANDIDATES:, columns], [[1.0, 0.0]] * (len(found) - 10))


def test_inputs_hold_the_features_and_their_distance_from_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=(3, len(FEATURE_NAMES))).astype(np.float32)
    inputs = network_inputs(values)
    np.testing.assert_array_equal(inputs[:, : len(FEATURE_NAMES)], values)
    np.testing.assert_allclose(inputs[:, len(FEATURE_NAMES) :].mean(axis=0), 0, atol=1e-6)
    columns = [column for group in ("names", "copy", "relation", "retrieval", "shape", "place")
               for column in group_columns(group)]  # fmt: skip
    assert sorted(columns) == list(range(inputs.shape[1]))


def test_what_is_known_of_a_repository_is_of_its_present_state(root: Path) -> None:
    found = candidates(root, ["shop/pricing.py", "shop/stock.py"])
    request = request_at()
    with RepositoryIndex.open(root) as index:
        kept = FeatureExtractor(index)
        before = kept.extract(request, in_file(request), found).values
        names = " = ".join(sorted(set(re.findall(r"\w\w+", found[0].chunk.text))))
        for number in range(20):  # what was rare is common
            index.update_file(f"shop/more{number}.py", f"{names} = {number}\n")
        after = kept.extract(request, in_file(request), found).values
        fresh = FeatureExtractor(index)
        assert (after == fresh.extract(request, in_file(request), found).values).all()
        assert (after != before).any()
        shown = in_file(request, 3)  # more of the own file counts
        assert (
            kept.extract(request, shown, found).values == fresh.extract(request, shown, found).values
        ).all()

"""What every filter must do, run over each of them by name."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.errors import FilterError
from codefilter.filters.base import FilterContext, Need, TrainedChunkFilter
from codefilter.filters.classifier import ClassifierFilter
from codefilter.filters.drafts import DRAFT_FEATURE_NAMES
from codefilter.filters.networks import Network
from codefilter.filters.table import FILTERS, get_filter
from codefilter.filters.trained import filter_folder, load_trained, save_trained
from codefilter.index import RepositoryIndex
from codefilter.lm.fake import FakeLanguageModel
from codefilter.types import CompletionRequest, RetrievedChunk
from tests.conftest import SAMPLE_FILES
from tests.labelled_repositories import write_repository
from tests.tiny_models import save_tiny_model
from tests.tuned_filters import save_random_filter

NAMES = [
    "none", "all", "top-k:2", "threshold:0.05", "score:0.01", "random:1", "perplexity:0.01", "classifier",
    "classifier:0.05", "cross", "generative", "generative:0,0.2", "oracle:0.1",
    "random-like:classifier:0.05", "random-like:oracle:0.1", "top-k-like:cross", "top-k-like:threshold:0.05",
]  # fmt: skip
PREFIX = SAMPLE_FILES["shop/report.py"].split("    for")[0]
REQUEST = CompletionRequest("shop/report.py", PREFIX + "    for order in or", "\n", "python")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of filters whose weights are not shipped: random ones."""
    base = save_tiny_model(tmp_path_factory.mktemp("base"), spare_rows=6)
    tuned = save_random_filter(tmp_path_factory.mktemp("tuned"), base).folder
    shipped, crossed = load_trained(filter_folder("shipped")), tmp_path_factory.mktemp("crossed")
    inputs, outputs = len(shipped.manifest.levels) + len(DRAFT_FEATURE_NAMES), len(shipped.manifest.levels)
    weight = np.random.default_rng(0).normal(size=(outputs, inputs)).astype(np.float32)
    ones, zeros = np.ones(inputs, np.float32), np.zeros(outputs, np.float32)
    manifest = replace(shipped.manifest, labelled_by_sha256=FakeLanguageModel().identity.sha256)
    save_trained(crossed, manifest, shipped.ensemble, Network(0 * ones, ones, (weight,), (zeros,)))
    return {"generative": str(tuned), "cross": str(crossed)}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> RepositoryIndex:
    return RepositoryIndex.open(write_repository(tmp_path_factory.mktemp("shop"), SAMPLE_FILES))


def plain(name: str) -> str:
    """A filter's name, or its reference's."""
    return name.partition("-like:")[2] or name


def settings_of(name: str, weights: dict[str, str]) -> Settings:
    own = weights.get(plain(name).split(":")[0], "shipped")
    return replace(Settings(), filter=name, filter_weights=own, device="cpu", dtype="float32")


def asked(
    name: str, weights: dict[str, str], index: RepositoryIndex
) -> tuple[list[RetrievedChunk], FilterContext]:
    """Candidates of a place, and all that a filter may know there."""
    settings = settings_of(name, weights)
    completer = Completer(index, FakeLanguageModel(), settings, truth_of=lambda request: "ders:")
    in_file = completer.cut_in_file(REQUEST)
    every = Completer(index, FakeLanguageModel(), replace(settings, filter="all"))
    return every.retrieve(REQUEST, in_file), completer.filter_context(REQUEST, in_file)


def test_every_filter_is_here() -> None:
    assert {name.split(":")[0] for name in NAMES} == set(FILTERS)


@pytest.mark.parametrize("name", NAMES)
def test_every_candidate_gets_one_decision_in_its_place(
    name: str, weights: dict[str, str], index: RepositoryIndex
) -> None:
    candidates, context = asked(name, weights, index)
    chosen = get_filter(name, settings_of(name, weights))
    assert len(candidates) > 3
    decisions = chosen.decide(REQUEST, candidates, context)
    assert [decision.candidate for decision in decisions] == candidates
    assert all(decision.reason and 0 <= decision.confidence <= 1 for decision in decisions)
    judged = [decision for decision in decisions if decision.probabilities is not None]
    for decision in judged:
        three = asdict(decision.probabilities)
        assert sum(three.values()) == pytest.approx(1)
        assert decision.confidence == three[decision.polarity]
    assert judged == decisions or not isinstance(chosen, ClassifierFilter)
    assert chosen.decide(REQUEST, [], context) == []
    assert get_filter(chosen.name, settings_of(name, weights)).name == chosen.name


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_depends_on_the_candidates_not_on_their_order(
    name: str, weights: dict[str, str], index: RepositoryIndex
) -> None:
    candidates, context = asked(name, weights, index)
    chosen = get_filter(name, settings_of(name, weights))
    kept = {d.candidate for d in chosen.decide(REQUEST, candidates, context) if d.keep}
    assert {d.candidate for d in chosen.decide(REQUEST, candidates[::-1], context) if d.keep} == kept


@pytest.mark.parametrize("name", NAMES)
def test_a_need_that_is_not_met_is_an_error(
    name: str, weights: dict[str, str], index: RepositoryIndex
) -> None:
    candidates, context = asked(name, weights, index)
    chosen = get_filter(name, settings_of(name, weights))
    lacking = {Need.READER: "reader", Need.INDEX: "index", Need.TRUTH: "truth"}
    for need in chosen.needs:
        with pytest.raises(FilterError, match="needs"):
            chosen.decide(REQUEST, candidates, replace(context, **{lacking[need]: None}))


@pytest.mark.parametrize("name", NAMES)
def test_filters_with_weights_say_which(name: str, weights: dict[str, str]) -> None:
    chosen = get_filter(name, settings_of(name, weights))
    trained = plain(name).split(":")[0] in ("classifier", "cross", "generative")
    assert isinstance(chosen, TrainedChunkFilter) == trained
    if isinstance(chosen, TrainedChunkFilter):
        assert len(chosen.weights_sha256) == 64

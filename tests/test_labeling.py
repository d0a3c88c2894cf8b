"""Labels: equal to the naive computation, controls of other repositories, planted signs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.controls import ControlRepository, draw_controls
from codefilter.errors import UsageError
from codefilter.index import RepositoryIndex
from codefilter.labeling import Labeler, LabelOptions, measure_impact, polarity_of
from codefilter.lm.base import Continuation, LanguageModel, ModelIdentity
from codefilter.lm.fake import FakeLanguageModel
from codefilter.tasks import LineSpan, make_task
from codefilter.types import CompletionTask, FilterDecision, LogLikelihood, Polarity, TaskLevel
from tests.labelled_repositories import ORDERS, SHOP_FILES, WEATHER_FILES, sources, write_repository

SMALL = Settings(filter="all", prefix_tokens=300, suffix_tokens=80, cross_file_tokens=8000, num_candidates=6)
OPTIONS = LabelOptions()
POOL = {
    "shop": ControlRepository("shop", "1", sources(SHOP_FILES)),
    "weather": ControlRepository("weather", "2", sources(WEATHER_FILES)),
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "shop", SHOP_FILES)


def task_at(text: str) -> CompletionTask:
    """The task that asks for the only line of the orders that holds the text."""
    (line,) = [number for number, line in enumerate(ORDERS.split("\n")) if text in line]
    source = next(source for source in sources(SHOP_FILES) if source.path == "shop/orders.py")
    return make_task("shop", "1", source, LineSpan(line, line + 1), TaskLevel.LINE)


def labeler(
    root: Path, model: LanguageModel, chosen: Settings = SMALL, options: LabelOptions = OPTIONS
) -> Labeler:
    completer = Completer(RepositoryIndex.open(root), model, chosen)
    return Labeler(completer, model, POOL, options)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    from codefilter.lm.torch_lm import TorchLanguageModel
    from tests.tiny_models import save_tiny_model

    folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}))
    identity = ModelIdentity("tiny", "0", "qwen2.5-coder")
    return TorchLanguageModel(folder, identity, device="cpu", dtype="float32")


def test_labels_are_measured_where_unrelated_chunks_change_least(
    shop: Path, tiny_model: LanguageModel
) -> None:
    task = task_at("costs = shipping")
    chosen, automatic = (
        replace(labeler(shop, tiny_model, replace(SMALL, **changes)).label(task), stage_seconds={})
        for changes in ({"layout": "repository", "hole_lines": 0}, {"layout": "auto", "hole_lines": 16})
    )
    assert chosen == automatic


@pytest.mark.parametrize("layout", ["repository", "after-suffix", "in-prefix"])
def test_labels_equal_the_naive_computation(shop: Path, tiny_model: LanguageModel, layout: str) -> None:
    """Every prompt as one sequence of its own, nothing shared."""
    chosen = replace(SMALL, layout=layout, hole_lines=0)
    completer = Completer(RepositoryIndex.open(shop), tiny_model, chosen)
    task = task_at("costs = shipping")
    example = labeler(shop, tiny_model, chosen).label(task)
    in_file = completer.cut_in_file(task.request)
    target = tiny_model.tokenizer.encode(task.target)

    def naive(chunks: list[FilterDecision], written: list[int]) -> LogLikelihood:
        ids = completer.build_prompt(task.request, in_file, chunks).token_ids
        whole = Continuation((*ids[1:], *written), len(written))
        return tiny_model.log_likelihoods(ids[:1], [whole])[0]

    def keep(candidate: object) -> FilterDecision:
        return FilterDecision(candidate, True, Polarity.UNKNOWN, 1.0, "")  # type: ignore[arg-type]

    alone = naive([], target)
    assert example.baseline.target.per_token == pytest.approx(alone.per_token, abs=1e-4)
    assert len(example.chunks) == 6
    for labeled in (*example.chunks, *example.controls):
        decision = keep(labeled.candidate)
        assert labeled.reading.target.per_token == pytest.approx(
            naive([decision], target).per_token, abs=1e-4
        )
        along = naive([decision], list(example.draft_token_ids))
        assert labeled.reading.draft.per_token == pytest.approx(along.per_token, abs=1e-4)
        assert labeled.reading.draft.entropies == pytest.approx(along.entropies, abs=1e-3)
        difference = naive([decision], target).total_nats - alone.total_nats
        assert labeled.impact.total_nats == pytest.approx(difference, abs=1e-3)
        assert labeled.impact.mean_nats == pytest.approx(difference / len(target), abs=1e-4)
    together = naive([keep(labeled.candidate) for labeled in example.chunks], target)
    assert example.everything.target.per_token == pytest.approx(together.per_token, abs=1e-4)


def test_a_chunk_over_the_budget_gets_no_label(shop: Path) -> None:
    model, task = FakeLanguageModel(), task_at("costs = shipping")
    every = labeler(shop, model).label(task).chunks
    costs = sorted(one.reading.cross_file_tokens for one in every)
    narrow = replace(SMALL, cross_file_tokens=costs[len(costs) // 2])
    example = labeler(shop, model, narrow).label(task)
    assert 0 < len(example.chunks) < len(every)
    assert all(one.reading.cross_file_tokens for one in example.chunks)


def test_planted_chunks_get_the_signs_that_they_must_have(shop: Path) -> None:
    """The fake model copies: a chunk that goes on like the truth helps, one that goes on otherwise harms."""
    example = labeler(shop, FakeLanguageModel()).label(task_at("costs = shipping"))
    polarity = {labeled.candidate.chunk.path: labeled.polarity for labeled in example.chunks}
    impact = {labeled.candidate.chunk.path: labeled.impact for labeled in example.chunks}
    assert polarity["shop/quotes.py"] is Polarity.POSITIVE
    assert polarity["shop/stock.py"] is not Polarity.POSITIVE
    assert impact["shop/quotes.py"].mean_nats > max(c.impact.mean_nats for c in example.controls) + 0.5
    assert impact["shop/refunds.py"].mean_nats < impact["shop/quotes.py"].mean_nats
    assert impact["shop/quotes.py"].relative == pytest.approx(
        impact["shop/quotes.py"].total_nats / -example.baseline.target.total_nats
    )


def test_the_draft_is_what_the_model_writes_without_chunks(shop: Path) -> None:
    model = FakeLanguageModel()
    example = labeler(shop, model, options=LabelOptions(draft_tokens=7)).label(task_at("return net + costs"))
    assert 0 < len(example.draft_token_ids) <= 7
    assert example.baseline.draft.num_tokens == len(example.draft_token_ids)
    # greedy: along its own draft the model is as sure as it can be
    assert (
        example.baseline.draft.total_nats >= max(c.reading.draft.total_nats for c in example.controls) - 1e-6
    )


def test_controls_are_of_other_repositories_of_matching_length_and_repeat(shop: Path) -> None:
    model = FakeLanguageModel()
    task = task_at("costs = shipping")
    first, second = (labeler(shop, model).label(task) for _ in range(2))
    assert first.controls == second.controls
    assert len(first.controls) == 3
    assert {control.repository for control in first.controls} == {"weather"}
    assert len({control.candidate.chunk.chunk_id for control in first.controls}) == 3
    for control in first.controls:
        text = dict(WEATHER_FILES)[control.candidate.chunk.path]
        lines = text.split("\n")[control.candidate.chunk.start_line : control.candidate.chunk.end_line]
        assert "\n".join(lines) == control.candidate.chunk.text
    other = labeler(shop, model, options=LabelOptions(seed=1)).label(task)
    assert [c.candidate for c in other.controls] != [c.candidate for c in first.controls]


@settings(max_examples=30)
@given(length=st.integers(5, 300), seed=st.integers(0, 9))
def test_a_control_is_as_long_as_whole_lines_allow(length: int, seed: int) -> None:
    tokenizer = FakeLanguageModel().tokenizer
    (control,) = draw_controls(POOL, task_at("costs = shipping"), [length], tokenizer, seed)
    assert control.tokens == len(tokenizer.encode(control.chunk.text))
    longest_line = max(len(line) for text in WEATHER_FILES.values() for line in text.split("\n"))
    assert abs(control.tokens - length) <= longest_line


def test_without_another_repository_there_are_no_controls_and_no_labels() -> None:
    tokenizer = FakeLanguageModel().tokenizer
    alone = {"shop": POOL["shop"]}
    with pytest.raises(UsageError, match="no other repository has python files"):
        draw_controls(alone, task_at("costs = shipping"), [50], tokenizer, 0)


def test_polarity_is_given_to_the_impact_above_the_controls() -> None:
    options = LabelOptions(positive_threshold=0.2, negative_threshold=-0.2)
    baseline, better = LogLikelihood(-10.0, (-5.0, -5.0)), LogLikelihood(-9.0, (-4.5, -4.5))
    raw = measure_impact(baseline, better, floor_nats=0.0)
    assert (raw.mean_nats, raw.total_nats, raw.relative) == pytest.approx((0.5, 1.0, 0.1))
    assert polarity_of(raw.corrected_nats, options) is Polarity.POSITIVE
    noise = measure_impact(baseline, better, floor_nats=0.45)  # a control does nearly as much
    assert noise.mean_nats == raw.mean_nats
    assert polarity_of(noise.corrected_nats, options) is Polarity.NEUTRAL
    harm = measure_impact(baseline, better, floor_nats=0.9)
    assert polarity_of(harm.corrected_nats, options) is Polarity.NEGATIVE

"""What every local engine must do, run over each of them. The reference is plain transformers."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codefilter.errors import CancelledError, ModelError
from codefilter.lm.base import (
    Cancellation,
    Continuation,
    GenerationOptions,
    HiddenStateModel,
    LanguageModel,
    ModelIdentity,
)
from codefilter.lm.fake import FakeLanguageModel

ENGINES = ["fake", "torch", "openvino", "onnxruntime"]


@pytest.fixture(scope="module", params=ENGINES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    if request.param == "fake":
        return FakeLanguageModel()
    from tests.tiny_models import save_tiny_model

    folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
    identity = ModelIdentity("tiny", "0", "qwen2.5-coder")
    if request.param == "torch":
        from codefilter.lm.torch_lm import TorchLanguageModel

        return TorchLanguageModel(folder, identity, device="cpu", dtype="float32")
    if request.param == "onnxruntime":
        from codefilter.lm.onnx_lm import OnnxLanguageModel

        return OnnxLanguageModel(folder, identity, dtype="float32")
    from codefilter.lm.openvino_lm import OpenVinoLanguageModel

    return OpenVinoLanguageModel(folder, identity, dtype="float32")


ids = st.lists(st.integers(0, 255), min_size=1, max_size=30)
continuations = st.lists(
    st.builds(lambda tokens, n: Continuation(tuple(tokens), min(n, len(tokens))), ids, st.integers(0, 30)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25)
@given(context=ids, continuations=continuations)
def test_shared_scores_equal_scoring_one_by_one(
    model: LanguageModel, context: list[int], continuations: list[Continuation]
) -> None:
    together = model.log_likelihoods(context, continuations)
    for continuation, result in zip(continuations, together, strict=True):
        whole = Continuation((*context[1:], *continuation.token_ids), continuation.num_targets)
        alone = model.log_likelihoods(context[:1], [whole])[0]
        assert result.num_tokens == continuation.num_targets
        assert result.per_token == pytest.approx(alone.per_token, abs=1e-4)
        assert result.entropies == pytest.approx(alone.entropies, abs=1e-3)
        assert len(result.entropies) == continuation.num_targets
        assert result.total_nats == pytest.approx(sum(result.per_token))


def test_greedy_generation_is_what_scoring_prefers(model: LanguageModel) -> None:
    prompt = list(b"def f(a):\n    return a\ndef f(a):\n    ret")
    generation = model.generate(prompt, GenerationOptions(max_new_tokens=6))[0]
    written = Continuation(generation.token_ids, len(generation.token_ids))
    scored = model.log_likelihoods(prompt, [written])[0]
    assert generation.log_likelihood.per_token == pytest.approx(scored.per_token, abs=1e-3)
    others = [Continuation((token,), 1) for token in range(256)]
    best = max(range(256), key=[r.total_nats for r in model.log_likelihoods(prompt, others)].__getitem__)
    assert generation.token_ids[0] == best


@settings(max_examples=15)
@given(words=st.lists(st.sampled_from([b"self.", b"value", b" = ", b"(x)", b"\n"]), min_size=3, max_size=30))
def test_drafts_do_not_change_greedy_output(model: LanguageModel, words: list[bytes]) -> None:
    prompt = list(b"".join(words))
    drafted, plain = (
        model.generate(prompt, GenerationOptions(max_new_tokens=12, speculate=speculate))[0]
        for speculate in (True, False)
    )
    assert drafted.token_ids == plain.token_ids
    assert drafted.num_passes <= plain.num_passes <= len(plain.token_ids)
    assert drafted.log_likelihood.per_token == pytest.approx(plain.log_likelihood.per_token, abs=1e-4)


def test_reuse_changes_nothing_but_the_work(model: LanguageModel) -> None:
    first, second = list(b"import os\nimport sys\nprint(os"), list(b"import os\nimport sys\nprint(sy")
    options = GenerationOptions(max_new_tokens=5)
    model.generate(list(b"zzz"), options)
    fresh = model.generate(second, options)[0]
    model.generate(first, options)
    reusing = model.generate(second, options)[0]
    assert reusing.num_reused_tokens == len(second) - 2
    assert reusing.token_ids == fresh.token_ids
    assert model.reusable_tokens(first) == len(first) - 2
    assert model.reusable_tokens([7, *second]) == 0
    assert model.reusable_tokens(second) == len(second)
    again = model.generate(second, options)[0]
    assert again.num_reused_tokens == len(second) - 1  # the last is read for what follows it
    assert again.token_ids == fresh.token_ids


def test_who_forgets_starts_from_nothing(model: LanguageModel) -> None:
    prompt, options = list(b"total = left + right\ntotal = le"), GenerationOptions(max_new_tokens=12)
    model.forget()
    fresh = model.generate(prompt, options)[0]
    remembering = model.generate(prompt, options)[0]
    assert remembering.num_reused_tokens > 0
    assert remembering.num_passes <= fresh.num_passes  # its own output is a draft
    model.forget()
    again = model.generate(prompt, options)[0]
    assert (again.num_reused_tokens, again.num_passes) == (0, fresh.num_passes)
    assert again.token_ids == fresh.token_ids


@settings(max_examples=20)
@given(required=st.text(min_size=1, max_size=8))
def test_required_text_begins_the_output_and_is_not_returned(model: LanguageModel, required: str) -> None:
    options = GenerationOptions(max_new_tokens=len(required.encode()) + 3, required_text=required)
    generation = model.generate(list(b"abc"), options)[0]
    spelled = b"".join(model.tokenizer.token_bytes[i] for i in generation.token_ids)
    assert spelled.startswith(required.encode())
    assert spelled[len(required.encode()) :].decode("utf-8", "ignore") == generation.text


def test_samples_differ_and_seeds_repeat(model: LanguageModel) -> None:
    options = GenerationOptions(max_new_tokens=8, temperature=2.0, num_candidates=3, seed=1)
    first = [g.token_ids for g in model.generate(list(b"abc"), options)]
    assert first == [g.token_ids for g in model.generate(list(b"abc"), options)]
    assert len(set(first)) == 3


def test_a_cancelled_request_stops_and_the_next_is_right(model: LanguageModel) -> None:
    prompt = list(b"x = 1\ny = 2\n" * 10)
    options = GenerationOptions(max_new_tokens=4)
    expected = model.generate(prompt, options)[0].token_ids
    model.generate([7], options)
    cancelled = Cancellation()
    cancelled.cancel()
    with pytest.raises(CancelledError):
        model.generate(prompt, options, cancelled)
    with pytest.raises(CancelledError):
        model.log_likelihoods(prompt, [Continuation((1, 2), 1)], cancelled)
    assert model.generate(prompt, options)[0].token_ids == expected


@settings(max_examples=15)
@given(first=ids, second=ids, data=st.data())
def test_hidden_states_are_the_texts_whatever_was_read_before(
    model: LanguageModel, first: list[int], second: list[int], data: st.DataObject
) -> None:
    assert isinstance(model, HiddenStateModel)
    shared = data.draw(st.integers(0, len(first)))
    text = first[:shared] + second
    count = data.draw(st.integers(1, len(text)))
    model.generate([7], GenerationOptions(max_new_tokens=1))
    fresh = model.hidden_states(text, count)
    assert len(fresh) == count
    model.log_likelihoods(first, [Continuation((1, 2, 3), 2)])
    assert model.hidden_states(text, count) == pytest.approx(fresh, abs=1e-4)
    assert model.hidden_states(text, 1) == pytest.approx(fresh[-1:], abs=1e-4)
    scores = [model.log_likelihoods(text, [Continuation((token,), 1)])[0].total_nats for token in (5, 9)]
    model.hidden_states(text, count)  # and they leave nothing behind
    again = [model.log_likelihoods(text, [Continuation((token,), 1)])[0].total_nats for token in (5, 9)]
    assert again == pytest.approx(scores, abs=1e-4)


def test_hidden_states_of_no_token_are_refused(model: LanguageModel) -> None:
    assert isinstance(model, HiddenStateModel)
    for count in (0, 4):
        with pytest.raises(ValueError, match="states of 3 tokens"):
            model.hidden_states([1, 2, 3], count)
    with pytest.raises(ModelError, match="model's context"):
        model.hidden_states([1] * (model.context_length + 1), 1)


def test_too_long_a_prompt_is_a_clear_error(model: LanguageModel) -> None:
    prompt = [1] * model.context_length
    with pytest.raises(ModelError, match="model's context"):
        model.generate(prompt, GenerationOptions())
    with pytest.raises(ModelError, match="model's context"):
        model.log_likelihoods(prompt, [Continuation((1,), 1)])


def test_an_empty_context_is_refused(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="context is empty"):
        model.log_likelihoods([], [Continuation((1,), 1)])
    with pytest.raises(ModelError, match="prompt is empty"):
        model.generate([], GenerationOptions())


def test_cancellation_interrupts_a_wait() -> None:
    model = FakeLanguageModel("fake:prompt_ms=1000")
    cancellation = Cancellation()
    threading.Timer(0.05, cancellation.cancel).start()
    started = time.perf_counter()
    with pytest.raises(CancelledError):
        model.generate([1] * 100, GenerationOptions(), cancellation)
    assert time.perf_counter() - started < 10  # of 100 seconds, on however busy a machine


def test_a_planted_chunk_moves_the_fake_likelihood() -> None:
    model = FakeLanguageModel()
    target = b"return compute_average(values)"
    context = b"# helper\n" + target + b"\n"
    other = b"# other!\n" + b"return compute_nothing_at_all()" + b"\n"
    continuation = Continuation(tuple(b"def f():\n    " + target), len(target))
    helped, harmed, alone = (
        model.log_likelihoods(list(before), [continuation])[0].total_nats for before in (context, other, b"#")
    )
    assert helped > alone + 5
    assert harmed < helped - 5

"""Recorded passes against plain ones. A trace stands for a CUDA graph where there is no CUDA: it repeats the
operations on the same tensors, too, and what Python decided while it was recorded is fixed in it."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from codefilter.errors import CancelledError
from codefilter.lm import torch_cache, torch_lm
from codefilter.lm.base import Cancellation, Continuation, GenerationOptions
from codefilter.lm.torch_lm import TorchLanguageModel
from codefilter.lm.torch_steps import Pass, Steps
from tests.test_torch_lm import FAMILIES, IDENTITY, save_family
from tests.tiny_models import save_tiny_model

PROMPT = [(7 * i) % 250 for i in range(40)]
REPEATING = [*PROMPT, *PROMPT[:20]]  # gives drafts
OPTIONS = GenerationOptions(max_new_tokens=16)


def traced(run: Pass) -> Pass:
    """Record a pass by tracing it."""
    graph: Pass = make_fx(run)()
    return graph


def loaded(folder: Path, **changes: Any) -> TorchLanguageModel:
    return TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32", **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), "qwen2")


def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let buffers grow, and move, for short prompts."""
    monkeypatch.setattr(torch_cache, "_FIRST_TOKENS", 8)
    monkeypatch.setattr(torch_lm, "_RECORDED_TOKENS", 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_recorded_passes_are_equal_to_plain_ones(tmp_path: Path, family: str) -> None:
    folder = save_family(tmp_path, family, **FAMILIES[family])
    plain, recorded = loaded(folder), loaded(folder, record=traced)
    assert recorded.description == f"{plain.description}, recorded steps"
    for prompt in (PROMPT, REPEATING, [*REPEATING[:50], 9]):  # the last one reuses a part
        one, other = (model.generate(prompt, OPTIONS)[0] for model in (plain, recorded))
        assert other.token_ids == one.token_ids
        assert other.log_likelihood.per_token == pytest.approx(one.log_likelihood.per_token, abs=1e-4)
        assert (other.num_reused_tokens, other.num_passes) == (one.num_reused_tokens, one.num_passes)


@pytest.mark.parametrize("number", range(1, 10))
def test_a_number_of_tokens_between_is_filled_up(folder: Path, number: int) -> None:
    plain, recorded = loaded(folder)._session, loaded(folder, record=traced)._session
    for session in (plain, recorded):
        session.forward(PROMPT, None)
    for tokens in (list(range(number)), [5]):  # what was filled up does not count afterwards
        one, other = (session.forward(tokens, None, rows=len(tokens)) for session in (plain, recorded))
        assert other.shape == one.shape
        assert other == pytest.approx(one, abs=1e-4)
    assert Steps.room(10) is None
    assert list(recorded.token_ids) == list(plain.token_ids)


def test_a_few_recordings_serve_all_passes(folder: Path) -> None:
    recordings = []

    def counted(run: Pass) -> Pass:
        recordings.append(run)
        return traced(run)

    model = loaded(folder, record=counted)
    recordings.clear()
    for prompt in (PROMPT, REPEATING, PROMPT[:30]):
        model.generate(prompt, OPTIONS)
    assert 1 <= len(recordings) <= 5


def test_buffers_that_move_are_recorded_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_buffers(monkeypatch)
    plain, recorded = loaded(folder), loaded(folder, record=traced)
    for prompt in (PROMPT[:5], PROMPT, PROMPT * 3):
        one, other = (model.generate(prompt, OPTIONS)[0] for model in (plain, recorded))
        assert other.token_ids == one.token_ids
    assert all(layer.capacity >= 120 for layer in torch_cache.layers_of(recorded._session.cache))


def test_buffers_that_a_cancelled_pass_left_unequal_are_recorded_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_buffers(monkeypatch)
    plain, recorded = loaded(folder), loaded(folder, record=traced)
    recorded.generate(PROMPT, OPTIONS)
    cancellation = Cancellation()
    hook = recorded._model.model.layers[0].register_forward_hook(lambda *_: cancellation.cancel())
    with pytest.raises(CancelledError):
        recorded.generate(PROMPT * 3, OPTIONS, cancellation)
    hook.remove()
    first, *others = (layer.capacity for layer in torch_cache.layers_of(recorded._session.cache))
    assert first > max(others)
    for prompt in (PROMPT, PROMPT * 3, REPEATING):
        one, other = (model.generate(prompt, OPTIONS)[0] for model in (plain, recorded))
        assert other.token_ids == one.token_ids
        assert other.log_likelihood.per_token == pytest.approx(one.log_likelihood.per_token, abs=1e-4)


def test_a_buffer_without_memory_to_grow_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, state = torch_cache.BufferLayer(), torch.ones(1, 2, 4, 3)
    layer.update(state, state)
    keys, values = layer.keys, layer.values
    grow, grown = torch_cache._wider, []

    def second_fails(buffer: torch.Tensor, capacity: int, filled: int) -> torch.Tensor:
        if grown:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        grown.append(1)
        return grow(buffer, capacity, filled)

    monkeypatch.setattr(torch_cache, "_wider", second_fails)
    with pytest.raises(torch.OutOfMemoryError):
        layer.reserve(1000)
    assert (layer.keys is keys, layer.values is values, layer.length) == (True, True, 4)


def test_what_is_not_finite_behind_the_end_spoils_nothing(folder: Path) -> None:
    plain, recorded = loaded(folder), loaded(folder, record=traced)
    expected = plain.generate(PROMPT, OPTIONS)[0]
    recorded.generate(PROMPT, OPTIONS)
    with torch.inference_mode():
        for layer in torch_cache.layers_of(recorded._session.cache):
            layer.values[:, :, len(PROMPT) + 30] = float("inf")
    other = recorded.generate(PROMPT, OPTIONS)[0]
    assert other.token_ids == expected.token_ids
    assert recorded._session.records


def test_likelihoods_and_states_behind_recorded_passes(folder: Path) -> None:
    plain, recorded = loaded(folder), loaded(folder, record=traced)
    recorded.generate(PROMPT, OPTIONS)
    continuations = [Continuation((1, 2, 3), 2), Continuation((4, 5), 1)]
    expected = plain.log_likelihoods(PROMPT, continuations)
    for one, other in zip(expected, recorded.log_likelihoods(PROMPT, continuations), strict=True):
        assert other.per_token == pytest.approx(one.per_token, abs=1e-4)
    assert recorded.hidden_states(PROMPT, 3) == pytest.approx(plain.hidden_states(PROMPT, 3), abs=1e-4)


def test_no_room_in_the_context_is_no_room_for_filling_up(tmp_path: Path) -> None:
    folder = save_family(tmp_path, "gpt2", **FAMILIES["gpt2"] | {"n_positions": 48})  # a table of 48 places
    plain, recorded = loaded(folder), loaded(folder, record=traced)
    options = GenerationOptions(max_new_tokens=8)
    assert recorded.generate(PROMPT, options)[0].token_ids == plain.generate(PROMPT, options)[0].token_ids
    rows = []
    for model in (plain, recorded):
        model.forget()
        model._session.forward([*PROMPT, 1, 2, 3, 4], None)
        rows.append(model._session.forward([1, 2, 3, 4], None, rows=4))  # filled up to 5, it would be 49
    assert rows[1] == pytest.approx(rows[0], abs=1e-4)


def test_a_cancelled_request_reads_nothing_more(folder: Path) -> None:
    model = loaded(folder, record=traced)
    model.generate(PROMPT, OPTIONS)
    session, cancellation = model._session, Cancellation()
    before = list(session.token_ids)
    cancellation.cancel()
    with pytest.raises(CancelledError):
        session.forward([1], cancellation)
    assert list(session.token_ids) == before


def test_where_nothing_can_be_recorded_passes_are_plain(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(run: Pass) -> Pass:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    plain = loaded(folder)
    with caplog.at_level(logging.WARNING):
        model = loaded(folder, record=refused)
    assert "operation not permitted when stream is capturing" in caplog.text
    assert model.description == plain.description
    assert model.generate(PROMPT, OPTIONS)[0].token_ids == plain.generate(PROMPT, OPTIONS)[0].token_ids


@pytest.mark.parametrize("family", FAMILIES)
def test_a_recording_with_a_fixed_position_is_not_used(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_as_it_is = TorchLanguageModel._run
    first: list[torch.Tensor] = []

    def run_at_first_position(
        model: TorchLanguageModel,
        ids: torch.Tensor,
        cache: Any,
        positions: torch.Tensor,
        rows: Any,
        **kw: Any,
    ) -> torch.Tensor:
        if "slots" in kw:
            first.append(positions.clone())
            positions = first[0]
        return run_as_it_is(model, ids, cache, positions, rows, **kw)

    folder = save_family(tmp_path, family, **FAMILIES[family])
    monkeypatch.setattr(TorchLanguageModel, "_run", run_at_first_position)
    with caplog.at_level(logging.WARNING):
        model = loaded(folder, record=lambda run: run)
    assert "are wrong here" in caplog.text
    assert not model.description.endswith("recorded steps")


def test_a_later_recording_that_fails_loses_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def first_only(run: Pass) -> Pass:
        recorded.append(run)
        if len(recorded) > 1:  # the first is of loading
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return traced(run)

    recorded: list[Pass] = []
    plain, model = loaded(folder), loaded(folder, record=first_only)
    with caplog.at_level(logging.WARNING):
        one, other = (m.generate(REPEATING, OPTIONS)[0] for m in (plain, model))
    assert other.token_ids == one.token_ids
    assert "not recorded any more: CUDA out of memory." in caplog.text
    assert np.isfinite(other.log_likelihood.per_token).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cuda_graphs_write_what_plain_passes_write(folder: Path, dtype: str) -> None:
    recorded = TorchLanguageModel(folder, IDENTITY, device="cuda", dtype=dtype)
    plain = TorchLanguageModel(folder, IDENTITY, device="cuda", dtype=dtype)
    plain._session._record = None
    assert recorded.description.endswith("recorded steps")
    exact = dtype == "float32"
    for prompt in (PROMPT, REPEATING):
        one, other = (model.generate(prompt, OPTIONS)[0] for model in (plain, recorded))
        assert other.token_ids == one.token_ids or not exact
        for number in (1, 2, 3, 4, 9):
            rows = []
            for model in (plain, recorded):
                model._session.crop(30)
                rows.append(model._session.forward(list(range(number)), None, rows=number))
            assert np.abs(rows[1] - rows[0]).max() < (1e-3 if exact else 0.05) * np.abs(rows[0]).max()

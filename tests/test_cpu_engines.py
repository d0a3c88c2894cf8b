"""The CPU engines against plain transformers, and which of them runs a model."""

import json
import math
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from codefilter.architecture import Architecture
from codefilter.errors import CancelledError, ModelError, UsageError
from codefilter.lm import loading
from codefilter.lm.base import Cancellation, Continuation, GenerationOptions, ModelIdentity
from codefilter.lm.cpu import CpuLanguageModel, _next_slice_tokens
from codefilter.lm.onnx_lm import OnnxLanguageModel, adds_byte_products_exactly
from codefilter.lm.openvino_lm import OpenVinoLanguageModel, choose_numbers
from codefilter.machine import instructions
from codefilter.quantization import quantize
from codefilter.tokenizer import Tokenizer
from tests.rounded_models import rounded
from tests.tiny_models import save_tiny_model

IDENTITY = ModelIdentity("tiny", "0", "qwen2.5-coder")
Engine = type[CpuLanguageModel]
ENGINES: dict[str, Engine] = {"onnxruntime": OnnxLanguageModel, "openvino": OpenVinoLanguageModel}

# whether the processor adds products of bytes in full
INSTRUCTIONS = {"AMX": True, "AVX-512 VNNI": True, "AVX-VNNI": True, "AVX-512": False, "AVX2": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


# Sizes that 64 and 128 do not divide are rotated in several blocks, of 32 here.
ODD: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 160,
    "head_dim": 32,
    "attention_bias": True,
    "mlp_bias": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}


@pytest.fixture(scope="module", params=["untied", "tied", "llama", "odd llama"])
def any_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    architecture = "llama" if "llama" in request.param else "qwen2"
    more = ODD if "odd" in request.param else {}
    return save_tiny_model(
        tmp_path_factory.mktemp("tiny"), architecture, tied=request.param == "tied", **more
    )


@pytest.fixture(autouse=True)
def _quantize_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a process of its own, which begins by importing torch."""
    monkeypatch.setattr("codefilter.quantization._quantize_in_a_process", quantize)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


def test_equal_to_plain_transformers_on_the_rounded_weights(
    engine: Engine, any_folder: Path, tmp_path: Path
) -> None:
    reference = AutoModelForCausalLM.from_pretrained(
        rounded(any_folder, tmp_path / "rounded"), dtype=torch.float32, attn_implementation="eager"
    ).eval()
    model = engine(any_folder, IDENTITY, dtype="float32")
    context = [(7 * i) % 256 for i in range(60)]
    conts = [Continuation(tuple((i * j + 3) % 256 for j in range(10 + 7 * i)), 5 + i) for i in range(1, 6)]
    for continuation, result in zip(conts, model.log_likelihoods(context, conts), strict=True):
        ids = [*context, *continuation.token_ids]
        with torch.inference_mode():
            rows = reference(torch.tensor([ids])).logits[0].log_softmax(-1)
        first = len(ids) - continuation.num_targets
        expected = [rows[p - 1, ids[p]].item() for p in range(first, len(ids))]
        assert result.per_token == pytest.approx(expected, abs=2e-3)
        entropies = [-(rows[p - 1].exp() * rows[p - 1]).sum().item() for p in range(first, len(ids))]
        assert result.entropies == pytest.approx(entropies, abs=2e-3)


def test_hidden_states_are_those_of_the_rounded_weights(
    engine: Engine, any_folder: Path, tmp_path: Path
) -> None:
    where = rounded(any_folder, tmp_path / "rounded")
    reference = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, attn_implementation="eager")
    ids = [(11 * i) % 250 for i in range(40)]
    with torch.inference_mode():
        expected = reference.eval().model(torch.tensor([ids])).last_hidden_state[0, -7:].numpy()
    model = engine(any_folder, IDENTITY, dtype="float32")
    assert model.hidden_states(ids, 7) == pytest.approx(expected, abs=5e-3)
    assert model.hidden_states(ids, 7, Cancellation()) == pytest.approx(expected, abs=5e-3)  # in slices


def test_hidden_slots_are_never_attended_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crop and grow at random, with the state cut always, never and sometimes: the same predictions."""
    outputs = []
    for limit in (0, 20, 10**6):
        monkeypatch.setattr("codefilter.lm.openvino_lm._MAX_HIDDEN_SLOTS", limit)
        session = OpenVinoLanguageModel(folder, IDENTITY, dtype="float32")._session
        random = np.random.default_rng(0)
        rows = []
        for _ in range(30):
            session.crop(int(random.integers(0, len(session.token_ids) + 1)))
            count = int(random.integers(1, 12))
            rows.append(session.forward(random.integers(0, 256, 12)[:count].tolist(), None)[0])
        outputs.append(np.stack(rows))
    assert outputs[0] == pytest.approx(outputs[1], abs=1e-4)
    assert outputs[0] == pytest.approx(outputs[2], abs=1e-4)


def test_going_back_to_a_prompt_reads_only_what_is_new(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codefilter.lm.keeping.MIN_TOKENS", 30)
    model = engine(folder, IDENTITY, dtype="float32")
    options = GenerationOptions(max_new_tokens=6)
    first = [(7 * i) % 256 for i in range(100)]
    other = [(5 * i + 1) % 256 for i in range(80)]
    before = model.generate(first, options)[0]
    model.log_likelihoods(other, [Continuation((1, 2, 3), 2)])  # a filter reads
    assert model.generate(other, options)[0].num_reused_tokens == len(other) - 1
    assert model.reusable_tokens([*first, 1]) == len(first)  # kept, though another was read since
    again = model.generate(first, options)[0]
    assert again.num_reused_tokens == len(first) - 1
    assert again.token_ids == before.token_ids
    assert again.log_likelihood.per_token == pytest.approx(before.log_likelihood.per_token, abs=1e-3)
    model.hidden_states(other, 3)
    assert model.generate(first, options)[0].num_reused_tokens == len(first) - 1
    longer = model.generate([*first[:60], *other[:9]], options)[0]  # and from there on as usual
    assert longer.num_reused_tokens == 60
    model.generate(other, options)
    model.forget()
    assert model.generate(first, options)[0].num_reused_tokens == 0


def test_what_a_superseded_request_has_read_is_not_read_again(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = engine(folder, IDENTITY, dtype="float32")
    monkeypatch.setattr("codefilter.lm.cpu._LONG_PASS_SECONDS", math.inf)
    prompt = [(7 * i) % 256 for i in range(200)]

    class AfterTwo(Cancellation):
        calls = 0

        def raise_if_cancelled(self) -> None:
            self.calls += 1
            if self.calls > 2:
                raise CancelledError("enough")

    with pytest.raises(CancelledError):
        model.generate(prompt, GenerationOptions(max_new_tokens=3), AfterTwo())
    typed_on = [*prompt, 5]
    options = GenerationOptions(max_new_tokens=3)
    after = model.generate(typed_on, options, Cancellation())[0]
    assert after.num_reused_tokens == 128  # two slices
    fresh = engine(folder, IDENTITY, dtype="float32").generate(typed_on, options)[0]
    assert after.token_ids == fresh.token_ids
    assert after.log_likelihood.per_token == pytest.approx(fresh.log_likelihood.per_token, abs=1e-3)


@pytest.mark.parametrize(
    ("long_seconds", "read"), [(math.inf, [64, 64, 22]), (0.0, [64, 32, 32, 22])], ids=["fast", "slow"]
)
def test_slices_of_a_cancellable_prompt_change_nothing(
    engine: Engine, folder: Path, long_seconds: float, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codefilter.lm.cpu._LONG_PASS_SECONDS", long_seconds)
    session = engine(folder, IDENTITY, dtype="float32")._session
    ids = [(3 * i) % 256 for i in range(150)]
    whole = session.forward(ids, None, rows=7)
    session.crop(0)
    lengths = []
    append = session._append

    def watched(token_ids: Sequence[int], rows: int) -> None:
        lengths.append(len(token_ids))
        append(token_ids, rows)

    monkeypatch.setattr(session, "_append", watched)
    assert session.forward(ids, Cancellation(), rows=7) == pytest.approx(whole, abs=1e-4)
    assert lengths == read


def test_slices_are_as_long_as_the_processor_is_fast() -> None:
    sizes = [64]
    for seconds in (0.5, 0.25, 0.11, 0.07, 0.05, 0.11, 0.05):
        sizes.append(_next_slice_tokens(sizes[-1], seconds))
    assert sizes == [64, 32, 32, 32, 32, 64, 64, 64]


def test_a_pass_that_failed_leaves_nothing_in_the_state(folder: Path) -> None:
    class FailingOnce:
        """Does half of the work and fails, at the second call."""

        def __init__(self, request: Any) -> None:
            self._request, self._calls = request, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._request, name)

        def infer(self, inputs: Any) -> Any:
            self._calls += 1
            result = self._request.infer(inputs)
            if self._calls == 2:
                raise RuntimeError("out of memory")
            return result

    session = OpenVinoLanguageModel(folder, IDENTITY, dtype="float32")._session
    first, second = [(7 * i) % 256 for i in range(40)], [(5 * i) % 256 for i in range(30)]
    whole = session.forward(first + second, None)
    session.forget()
    session._layers = FailingOnce(session._layers)
    session.forward(first, None)
    with pytest.raises(RuntimeError):
        session.forward(second, None)
    assert not session.token_ids
    session.forward(first, None)
    assert session.forward(second, None) == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize(
    ("known", "activations"),
    [
        ("AMX", "int8"),
        ("AVX-512 VNNI", "int8"),
        ("AVX-VNNI", "int8"),
        ("AVX-512", "float32"),
        ("AVX2", "float32"),
        ("", "int8 or float32"),
    ],
)
def test_int8_activations_are_claimed_only_where_they_are_known(
    known: str, activations: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codefilter.lm.openvino_lm.instructions", lambda: known)
    assert choose_numbers("auto").description == f"{activations} activations"


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "mamba", "hidden_act": "gelu"}, "model_type=mamba, hidden_act=gelu"),
        ({"model_type": "llama", "rope_scaling": {"rope_type": "llama3"}}, "rope_type=llama3"),
        ({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type=linear"),
        ({"model_type": "qwen2", "quantization_config": {"bits": 4}}, "quantization_config"),
        ({"model_type": "qwen2", "use_sliding_window": True}, "use_sliding_window"),
    ],
)
def test_other_architectures_are_named_and_auto_takes_torch(
    tmp_path: Path, config: dict[str, object], named: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=named) as caught:
        Architecture.from_folder(tmp_path)
    assert "--engine torch" in caught.value.hint
    assert loading.choose_engine(tmp_path, "cpu", "auto") == "torch"


@pytest.mark.parametrize(
    "text",
    [
        '{"model_type": "lla',
        "[]",
        '{"model_type": "llama"}',
        '{"model_type": "llama", "num_attention_heads": 0, "hidden_size": 64}',
        '{"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 3, "hidden_size": 64}',
        '{"model_type": "llama", "num_attention_heads": 4, "hidden_size": 1e999}',
    ],
)
def test_a_broken_config_is_a_clear_error_and_auto_takes_torch(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json cannot be read") as caught:
        Architecture.from_folder(tmp_path)
    assert caught.value.hint
    assert loading.choose_engine(tmp_path, "cpu", "auto") == "torch"


@pytest.mark.parametrize("change", [{"num_hidden_layers": 3}, {"hidden_size": 32, "head_dim": 16}])
def test_weights_that_do_not_fit_the_config_are_a_clear_error(
    engine: Engine, folder: Path, tmp_path: Path, change: dict[str, int]
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=r"do not fit its config\.json") as caught:
        engine(copy, IDENTITY)
    assert caught.value.hint


@pytest.mark.parametrize("lost", ["lm_head.weight", "model.layers.1.self_attn.k_proj.bias"])
def test_a_tensor_that_is_missing_is_not_taken_for_one_that_the_model_does_not_have(
    engine: Engine, folder: Path, tmp_path: Path, lost: str
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    del tensors[lost]
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(ModelError, match=f"{lost} is None"):
        engine(copy, IDENTITY)
    (copy / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:500])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        engine(copy, IDENTITY)


def test_weights_of_a_config_that_was_wrong_are_not_taken_for_those_of_the_right_one(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    """Heads of twice the size: every tensor has the same shape, and is rotated in other blocks."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    wrong = config | {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
    (copy / "config.json").write_text(json.dumps(wrong))
    target = Continuation(tuple(range(20)), 20)
    other = engine(copy, IDENTITY, dtype="float32").log_likelihoods([1, 2, 3], [target])[0]
    (copy / "config.json").write_text(json.dumps(config))
    mended = engine(copy, IDENTITY, dtype="float32").log_likelihoods([1, 2, 3], [target])[0]
    expected = engine(folder, IDENTITY, dtype="float32").log_likelihoods([1, 2, 3], [target])[0]
    assert mended.per_token == expected.per_token != other.per_token


def test_a_state_that_finds_no_memory_leaves_nothing_behind_that_is_wrong(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codefilter.lm.keeping.MIN_TOKENS", 30)
    model = engine(folder, IDENTITY, dtype="float32")
    options = GenerationOptions(max_new_tokens=6)
    first, other = [(7 * i) % 256 for i in range(100)], [(5 * i + 1) % 256 for i in range(80)]
    before = model.generate(first, options)[0]
    model.generate(other, options)

    def fail(arrays: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(model._session, "_set_state", fail)
        with pytest.raises(MemoryError):
            model.generate(first, options)
    again = model.generate(first, options)[0]
    assert again.token_ids == before.token_ids
    assert again.log_likelihood.per_token == pytest.approx(before.log_likelihood.per_token, abs=1e-3)


def test_buffers_that_find_no_memory_stay_as_they_were(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codefilter.lm.onnx_lm._MIN_BUFFER_TOKENS", 16)
    model, whole = (OnnxLanguageModel(folder, IDENTITY, dtype="float32") for _ in range(2))
    short, long = [(7 * i) % 256 for i in range(10)], [(7 * i) % 256 for i in range(60)]
    options = GenerationOptions(max_new_tokens=4)
    model.generate(short, options)
    made: list[object] = []
    zeros = np.zeros

    def one_then_none(shape: Any, dtype: Any = float) -> Any:
        if np.ndim(shape) == 1 and len(shape) == 4:  # a buffer of keys or values
            if made:
                raise MemoryError
            made.append(shape)
        return zeros(shape, dtype)

    with monkeypatch.context() as patched:
        patched.setattr(np, "zeros", one_then_none)
        with pytest.raises(MemoryError):
            model.generate(long, options)
    assert made
    assert model.generate(long, options)[0].token_ids == whole.generate(long, options)[0].token_ids


def test_heads_that_onnx_runtime_cannot_have_are_openvinos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_tiny_model(tmp_path, "llama", hidden_size=80)
    monkeypatch.setattr(loading, "instructions", lambda: "AVX2")
    assert loading.choose_engine(folder, "cpu", "auto") == "openvino"
    with pytest.raises(ModelError, match="a multiple of 16 numbers, this model's have 20"):
        loading.choose_engine(folder, "cpu", "auto", "onnxruntime")


def test_rows_that_spell_nothing_are_never_written(engine: Engine, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, spare_rows=700)
    options = GenerationOptions(max_new_tokens=40, temperature=3.0, num_candidates=2)
    written = engine(folder, IDENTITY).generate([1, 2, 3], options)
    assert all(token < 262 for one in written for token in one.token_ids)


def test_number_types_agree_and_unknown_ones_are_named(folder: Path) -> None:
    context, target = [(7 * i) % 256 for i in range(60)], Continuation(tuple(range(40)), 40)
    exact, *others = (
        engine(folder, IDENTITY, dtype=dtype).log_likelihoods(context, [target])[0].per_token
        for engine, dtype in (
            (OpenVinoLanguageModel, "float32"),
            (OpenVinoLanguageModel, "auto"),
            (OpenVinoLanguageModel, "bfloat16"),
            (OnnxLanguageModel, "auto"),
        )
    )
    for other in others:
        # sums of two products that are cut to 16 bits, as the quick way of AVX2 does it, would be 0.36 off
        assert np.abs(np.subtract(exact, other)).mean() < 0.05
    with pytest.raises(UsageError, match="openvino engine does not compute in 'float16'"):
        choose_numbers("float16")
    with pytest.raises(UsageError, match="onnxruntime engine does not compute in 'bfloat16'"):
        OnnxLanguageModel(folder, IDENTITY, dtype="bfloat16")


@pytest.mark.skipif(instructions() not in INSTRUCTIONS, reason="this processor's instructions are not told")
def test_byte_products_are_exact_where_the_processor_has_them() -> None:
    assert adds_byte_products_exactly() == INSTRUCTIONS[instructions()]


@pytest.mark.skipif(
    not adds_byte_products_exactly(), reason="signed weights would be wrong on this processor"
)
def test_signed_weights_say_what_unsigned_ones_say(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, target = [(7 * i) % 256 for i in range(60)], Continuation(tuple(range(40)), 40)
    said = []
    for exact in (True, False):
        monkeypatch.setattr("codefilter.lm.onnx_lm.adds_byte_products_exactly", lambda exact=exact: exact)
        engine = OnnxLanguageModel(folder, IDENTITY)
        said.append(engine.log_likelihoods(context, [target])[0].per_token)
        said.append(engine.log_likelihoods([1], [Continuation((2,), 1)])[0].per_token)  # one row at a time
    assert said[:2] == said[2:]


@pytest.mark.parametrize(
    ("known", "first"),
    [
        ("AVX2", "onnxruntime"),
        ("AVX-512", "onnxruntime"),
        ("AVX-512 VNNI", "onnxruntime"),
        ("AMX", "openvino"),  # not measured, as those behind it
        ("AVX-VNNI", "openvino"),
        ("", "openvino"),
    ],
)
def test_the_processor_decides_which_cpu_engine_auto_takes(
    folder: Path, known: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "instructions", lambda: known)
    assert loading.choose_engine(folder, "cpu", "auto") == first
    monkeypatch.setitem(
        sys.modules, "codefilter.lm.onnx_lm" if first == "onnxruntime" else "codefilter.lm.openvino_lm", None
    )
    (second,) = set(loading.CPU_ENGINES) - {first}
    assert loading.choose_engine(folder, "cpu", "auto") == second


@pytest.mark.parametrize("name", loading.CPU_ENGINES)
def test_a_cpu_engine_runs_what_it_can_and_auto_takes_torch_for_the_rest(
    folder: Path, tmp_path: Path, name: str
) -> None:
    assert loading.choose_engine(folder, "cpu", "bfloat16") == "openvino"
    assert loading.choose_engine(folder, "cpu", "float16") == "torch"
    assert loading.choose_engine(folder, "cuda", "auto") == "torch"
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    assert loading.choose_engine(tmp_path, "cpu", "auto") == "torch"
    loaded = loading.load_model(str(folder), engine=name)
    assert loaded.description.startswith(name)
    assert len(loaded.generate([1, 2, 3], GenerationOptions(max_new_tokens=4))) == 1
    with pytest.raises(UsageError, match="not on cuda"):
        loading.load_model(str(folder), engine=name, device="cuda")


@pytest.mark.parametrize(
    ("driver", "built_for", "is_torch"),
    [
        ("cuda", "cuda", True),
        ("hip", "hip", True),
        ("cuda", "", False),
        ("hip", "cuda", False),  # of a processor with graphics: no CUDA
        ("", "cuda", False),
    ],
)
def test_a_driver_that_the_installed_torch_cannot_use_is_no_gpu(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, built_for: str, is_torch: bool
) -> None:
    lines = [f"{kind}: Optional[str] = {'1.0' if kind == built_for else None!r}" for kind in ("cuda", "hip")]
    (tmp_path / "version.py").write_text("\n".join(["__version__ = '2.0+cu1'", *lines]))
    spec = ModuleSpec("torch", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(loading, "find_spec", lambda name: spec)
    places = {kind: tmp_path / ("" if kind == driver else "absent") for kind in ("cuda", "hip")}
    monkeypatch.setattr(loading, "_DRIVERS", places)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.platform", "linux")
    assert (loading.choose_engine(folder, "auto", "auto") == "torch") is is_torch


def test_cpu_engines_that_cannot_be_imported_leave_auto_to_torch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("onnx_lm", "openvino_lm"):
        monkeypatch.setitem(sys.modules, f"codefilter.lm.{module}", None)
    assert loading.choose_engine(folder, "cpu", "auto") == "torch"
    for engine in loading.CPU_ENGINES:
        with pytest.raises(UsageError, match=f"{engine} engine is not installed") as caught:
            loading.load_model(str(folder), engine=engine)
        assert "pip install" in caught.value.hint


def test_a_tokenizer_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Callable[[Path], Tokenizer] = Tokenizer.from_folder
    seen: list[Path] = []

    def counted(where: Path) -> Tokenizer:
        seen.append(where)
        return read(where)

    monkeypatch.setattr(Tokenizer, "from_folder", counted)
    for engine in ("torch", "openvino", "onnxruntime"):
        loaded = loading.load_model(str(folder), engine=engine, device="cpu")
        assert loaded.identity.family == "qwen2.5-coder"
    assert seen == 3 * [folder]

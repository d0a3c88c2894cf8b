"""The torch engine against plain transformers: the same numbers, for less work."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from codefilter.errors import CancelledError, ModelError, UsageError
from codefilter.lm import packing
from codefilter.lm.base import Cancellation, Continuation, GenerationOptions, ModelIdentity
from codefilter.lm.torch_lm import TorchLanguageModel
from codefilter.lm.torch_loading import choose_device, choose_dtype
from tests.tiny_models import save_random_model, save_tiny_model

IDENTITY = ModelIdentity("tiny", "0", "qwen2.5-coder")


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), request.param)


def naive_log_likelihood(folder: Path, ids: list[int], num_targets: int, dtype: torch.dtype) -> list[float]:
    """One plain forward pass over everything, eager attention, full logits."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    with torch.inference_mode():
        scores = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    first = len(ids) - num_targets
    return [scores[position - 1, ids[position]].item() for position in range(first, len(ids))]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_equal_to_plain_transformers(folder: Path, dtype: str, tolerance: float) -> None:
    model = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype=dtype)
    context = [(7 * i) % 256 for i in range(60)]
    conts = [Continuation(tuple((i * j + 3) % 256 for j in range(10 + 7 * i)), 5 + i) for i in range(1, 6)]
    for continuation, result in zip(conts, model.log_likelihoods(context, conts), strict=True):
        ids = [*context, *continuation.token_ids]
        expected = naive_log_likelihood(folder, ids, continuation.num_targets, getattr(torch, dtype))
        mean_difference = sum(abs(a - b) for a, b in zip(result.per_token, expected, strict=True)) / len(
            expected
        )
        assert mean_difference < tolerance


SHAPE = {
    "vocab_size": 262,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2_SHAPE = {"vocab_size": 262, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
FAMILIES: dict[str, dict[str, Any]] = {  # those that the engine's error names, and in what they differ
    "llama": SHAPE,
    "mistral": SHAPE | {"sliding_window": 8},
    "qwen2": SHAPE,
    "qwen3": SHAPE,
    "starcoder2": SHAPE | {"sliding_window": 8},
    "gemma3_text": SHAPE | {"sliding_window": 8, "query_pre_attn_scalar": 8},
    "cohere2": SHAPE | {"sliding_window": 8},
    "opt": SHAPE | {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "gpt2": GPT2_SHAPE,
    "gpt_neox": SHAPE,
    "gpt_bigcode": GPT2_SHAPE,
    "codegen": GPT2_SHAPE | {"rotary_dim": 4},
}


def save_family(folder: Path, family: str, **shape: Any) -> Path:
    return save_random_model(folder, AutoConfig.for_model(family, **shape))


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_equal_to_plain_transformers(tmp_path: Path, family: str) -> None:
    folder = save_family(tmp_path, family, **FAMILIES[family])
    model = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32")
    context = [(7 * i) % 256 for i in range(20)]
    conts = [Continuation(tuple((i * j + 3) % 256 for j in range(10 + i)), 5 + i) for i in range(1, 4)]
    for continuation, result in zip(conts, model.log_likelihoods(context, conts), strict=True):
        ids = [*context, *continuation.token_ids]
        expected = naive_log_likelihood(folder, ids, continuation.num_targets, torch.float32)
        assert result.per_token == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("family", ["qwen2", "mistral"])
def test_heads_that_share_keys_are_told_apart_where_masks_need_it(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeated = []
    monkeypatch.setattr(
        "codefilter.lm.torch_attention._masks_need_all_heads", lambda query: repeated.append(query) or True
    )
    test_families_are_equal_to_plain_transformers(tmp_path, family)
    assert repeated


@pytest.mark.parametrize(
    ("family", "shape", "why"),
    [
        ("gemma2", SHAPE | {"attn_logit_softcapping": 2.0}, "it has softcap"),
        ("gpt_oss", SHAPE | {"num_local_experts": 2, "num_experts_per_tok": 1}, "it has s_aux"),
        ("bloom", {"vocab_size": 262, "hidden_size": 32, "n_layer": 2, "n_head": 4}, "only 0 of 2 layers"),
        (
            "falcon",
            {"vocab_size": 262, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
            "it takes none but its own",
        ),
        (
            "llama4_text",
            SHAPE
            | {"intermediate_size_mlp": 64, "num_local_experts": 2, "moe_layers": [], "use_qk_norm": False},
            "it has layers of chunked_attention",
        ),
        ("mpt", {"vocab_size": 262, "d_model": 32, "n_heads": 4, "n_layers": 2}, "cannot run this model"),
        ("mamba", SHAPE | {"state_size": 4}, "it has layers of linear_attention"),
    ],
)
def test_a_family_with_another_attention_is_refused(
    tmp_path: Path, family: str, shape: dict[str, Any], why: str
) -> None:
    folder = save_family(tmp_path, family, **shape)
    with pytest.raises(
        ModelError, match=f"(attention is not known to CodeFilter:|torch engine) {why}"
    ) as caught:
        TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32")
    assert "remote:URL" in caught.value.hint


def test_hidden_states_are_those_of_plain_transformers(folder: Path) -> None:
    reference = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    ids = [(11 * i) % 250 for i in range(40)]
    with torch.inference_mode():
        expected = reference.model(torch.tensor([ids])).last_hidden_state[0, -7:].numpy()
    model = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32")
    assert model.hidden_states(ids, 7) == pytest.approx(expected, abs=1e-4)


def test_more_continuations_than_one_pass_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32")
    context = list(range(50))
    conts = [Continuation(tuple(range(i, i + 20)), 20) for i in range(8)]
    expected = model.log_likelihoods(context, conts)
    small = functools.partial(packing.packs, max_tokens=30)
    monkeypatch.setattr("codefilter.lm.torch_lm.packs", small)
    for result, other in zip(model.log_likelihoods(context, conts), expected, strict=True):
        assert result.per_token == pytest.approx(other.per_token, abs=1e-4)


def test_greedy_generation_equals_plain_transformers(folder: Path) -> None:
    prompt = [(11 * i) % 250 for i in range(40)]
    reference = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    expected = reference.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, 40),
        max_new_tokens=10,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )[0, 40:].tolist()
    controls = [i for i, token in enumerate(expected) if token >= 256]
    model = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32")
    generation = model.generate(prompt, GenerationOptions(max_new_tokens=10))[0]
    assert list(generation.token_ids) == expected[: controls[0] if controls else None]


def test_cancellation_stops_between_layers(folder: Path) -> None:
    model = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32")
    cancellation = Cancellation()
    layers = model._model.model.layers
    reached = []
    first = layers[0].register_forward_hook(lambda *args: cancellation.cancel())
    second = layers[1].register_forward_hook(lambda *args: reached.append(1))
    with pytest.raises(CancelledError):
        model.generate([1, 2, 3], GenerationOptions(), cancellation)
    assert not reached
    first.remove()
    second.remove()
    expected = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32").generate(
        [1, 2, 3], GenerationOptions(max_new_tokens=5)
    )
    assert (
        model.generate([1, 2, 3], GenerationOptions(max_new_tokens=5))[0].token_ids == expected[0].token_ids
    )


def test_what_a_superseded_request_has_read_is_not_read_again(folder: Path) -> None:
    model = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32")
    prompt = [(7 * i) % 256 for i in range(300)]
    options = GenerationOptions(max_new_tokens=3)
    cancellation, passes = Cancellation(), []

    def end_in_the_third(*_: object) -> None:
        passes.append(1)
        if len(passes) == 3:
            cancellation.cancel()

    hook = model._model.model.layers[0].register_forward_hook(end_in_the_third)
    with pytest.raises(CancelledError):
        model.generate(prompt, options, cancellation)
    hook.remove()
    after = model.generate([*prompt, 5], options, Cancellation())[0]
    assert after.num_reused_tokens == 256  # two slices
    fresh = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32").generate(
        [*prompt, 5], options
    )
    assert after.token_ids == fresh[0].token_ids
    assert after.log_likelihood.per_token == pytest.approx(fresh[0].log_likelihood.per_token, abs=1e-4)


def test_unknown_devices_types_and_folders_are_clear_errors(tmp_path: Path) -> None:
    for name in ("cuda:99", "tpu", "cpu:x", "cpu:1", "cuda:x", ""):
        with pytest.raises(UsageError, match="not available") as caught:
            choose_device(name)
        assert "cpu" in caught.value.hint
    with pytest.raises(UsageError, match="unknown dtype"):
        choose_dtype("int3", torch.device("cpu"))
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        TorchLanguageModel(tmp_path, IDENTITY)
    (tmp_path / "tokenizer.json").write_text((save_tiny_model(tmp_path / "m") / "tokenizer.json").read_text())
    with pytest.raises(ModelError, match="cannot be loaded"):
        TorchLanguageModel(tmp_path, IDENTITY)


def configured(**values: object) -> Callable[[Path], object]:
    """Write other values into a folder's config."""

    def write(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return write


def half_copied(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (half_copied, "cannot be loaded: Error while deserializing header"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "qw'), "not a valid JSON file"),
        (configured(quantization_config={"quant_method": "gptq", "bits": 4}), "cannot be loaded: .*GPTQ"),
        (configured(hidden_size=32), "do not fit its config.json: .* tensors, first lm_head.weight"),
        (without_a_tensor, "1 tensors, first model.layers.1.mlp.up_proj.weight"),
    ],
)
def test_a_folder_that_is_not_whole_is_a_clear_error(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    spoil(copy)
    with pytest.raises(ModelError, match=message) as caught:
        TorchLanguageModel(copy, IDENTITY, device="cpu")
    assert caught.value.hint


def test_a_folders_own_code_never_runs_and_nothing_is_asked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    configured(model_type="own", auto_map={"AutoConfig": "own.Config"})(copy)
    (copy / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError, match="cannot be loaded"):
        TorchLanguageModel(copy, IDENTITY, device="cpu")
    assert not (tmp_path / "ran").exists()
    assert capsys.readouterr().out == ""


def test_a_device_that_is_too_small_is_a_clear_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nSee the documentation.")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(ModelError, match=r"does not go onto cpu: CUDA out of memory\.$") as caught:
        TorchLanguageModel(folder, IDENTITY, device="cpu")
    assert "smaller model" in caught.value.hint


def test_a_prompt_that_is_too_long_for_the_device_is_a_clear_error(folder: Path) -> None:
    model = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32")
    prompt, options = [(7 * i) % 256 for i in range(40)], GenerationOptions(max_new_tokens=5)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nSee the documentation.")

    hook = model._model.model.layers[1].register_forward_hook(full)
    with pytest.raises(ModelError, match=r"no memory left for this prompt: CUDA out of memory\.$") as caught:
        model.generate(prompt, options)
    assert "cross_file_tokens" in caught.value.hint
    with pytest.raises(ModelError, match="no memory left"):
        model.log_likelihoods(prompt[:1], [Continuation((1, 2), 1)])
    hook.remove()
    fresh = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32").generate(prompt, options)
    assert model.generate(prompt, options)[0].token_ids == fresh[0].token_ids


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_gives_the_same_scores(folder: Path) -> None:
    context, conts = list(range(40)), [Continuation(tuple(range(i, i + 9)), 9) for i in range(5)]
    on_cpu = TorchLanguageModel(folder, IDENTITY, device="cpu", dtype="float32").log_likelihoods(
        context, conts
    )
    on_gpu = TorchLanguageModel(folder, IDENTITY, device="cuda", dtype="float32").log_likelihoods(
        context, conts
    )
    for a, b in zip(on_cpu, on_gpu, strict=True):
        assert a.per_token == pytest.approx(b.per_token, abs=1e-3)

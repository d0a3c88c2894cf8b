"""8-bit weights: how they are rotated and rounded, and how they are kept on disk."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from codefilter.architecture import Architecture
from codefilter.model_folder import weights_sha256
from codefilter.paths import cache_path, remembered_sha256
from codefilter.quantization import quantize, quantized_folder, quantized_weights, rotation
from tests.tiny_models import save_tiny_model


@pytest.fixture
def cache() -> Path:
    return cache_path()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@given(size=st.integers(1, 6000))
def test_a_rotation_is_its_own_inverse_and_fits_the_size(size: int) -> None:
    block = rotation(size)
    assert size % len(block) == 0
    assert len(block) <= 128
    assert block @ block == pytest.approx(np.eye(len(block)), abs=1e-5)


def test_a_rotation_spreads_a_large_number() -> None:
    numbers = np.zeros(128, np.float32)
    numbers[3] = 64
    assert np.abs(numbers @ rotation(896)).max() == pytest.approx(64 / 128**0.5)


def test_rows_are_rounded_to_a_127th_of_their_largest_value(folder: Path, tmp_path: Path) -> None:
    quantize(folder, tmp_path / "int8.safetensors")
    tensors = load_file(tmp_path / "int8.safetensors")
    original = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    name = "model.layers.1.mlp.up_proj.weight"
    restored = tensors[name] * tensors[f"{name}.scale"]
    norm = original["model.layers.1.post_attention_layernorm.weight"].numpy()
    rotated = original[name].numpy() * norm @ rotation(64)
    error = np.abs(restored - rotated)
    assert error.max() > 0
    assert (error <= tensors[f"{name}.scale"] / 2 + 1e-7).all()


def test_damaged_weights_are_made_anew(folder: Path) -> None:
    first = quantized_weights(folder, Architecture.from_folder(folder))
    sha256 = weights_sha256({p.name: remembered_sha256(p) for p in folder.glob("*.safetensors")})
    file = quantized_folder(sha256, Architecture.from_folder(folder)) / "model-int8.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    again = quantized_weights(folder, Architecture.from_folder(folder))
    assert file.read_bytes() == whole
    assert (again.matrix("lm_head.weight")[0] == first.matrix("lm_head.weight")[0]).all()


def test_weights_in_a_cache_that_cannot_be_written_to_serve(folder: Path, cache: Path) -> None:
    first = quantized_weights(folder, Architecture.from_folder(folder))
    shutil.rmtree(cache / "locks")
    (cache / "locks").write_text("")  # no lock can be made here
    again = quantized_weights(folder, Architecture.from_folder(folder))
    assert (again.matrix("lm_head.weight")[0] == first.matrix("lm_head.weight")[0]).all()


def test_what_a_killed_quantisation_left_is_deleted(folder: Path, cache: Path) -> None:
    quantized_weights(folder, Architecture.from_folder(folder))
    (made,) = (cache / "int8").iterdir()
    made.rename(made.with_name(f".{made.name}.0123.tmp"))
    quantized_weights(folder, Architecture.from_folder(folder))
    assert list((cache / "int8").iterdir()) == [made]
    remembered = [json.loads(path.read_text())["path"] for path in (cache / "hashes").iterdir()]
    assert all(Path(path).is_file() for path in remembered)

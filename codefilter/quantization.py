"""A model's matrices in 8 bits: rotated, one scale per output row, made once and kept in the cache.

In: a model folder's safetensors. Out: int8 matrices with float32 scales, vectors as float32, all by the names
of the original tensors (the three attention inputs are joined to one matrix).
Notable: what a matrix is multiplied with has a few numbers that are far larger than the others, which leaves
no bits for these. So everything between the layers is rotated by a Hadamard matrix, which spreads the large
ones over their neighbours (QuaRot, Ashkboos et al. 2024): the model says the same, in numbers of like size.
Rotations are put into the matrices here, layer norms' weights too; an engine rotates before ``down_proj``,
and back before the last norm.
Notable: a process of its own quantises, so that whoever completes needs neither torch nor its memory; what is
in the cache is checked by its sha256 before it is used, and made anew where it does not fit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codefilter.architecture import Architecture
from codefilter.child import run_module
from codefilter.errors import ModelError, first_line
from codefilter.model_folder import weights_sha256
from codefilter.paths import (
    atomic_folder,
    cache_path,
    exclusive,
    remembered_sha256,
    remove_leftovers,
    sha256_of_file,
)

if TYPE_CHECKING:
    import torch

_VERSION = 3  # of what is written here
_FILE = "model-int8.safetensors"
_MAX_BLOCK = 128


class QuantizedWeights:
    """What `quantize` wrote, by tensor name."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._tensors = tensors

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def matrix(self, name: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Integers (out, in) and scales (out, 1): the matrix is their product."""
        return self._tensors[name], self._tensors[f"{name}.scale"]

    def bias(self, name: str) -> NDArray[np.float32] | None:
        """What is added to the matrix's product, (out,); None where nothing is."""
        return self._tensors.get(f"{name}.bias")

    def vector(self, name: str) -> NDArray[np.float32]:
        """A layer norm's weights, (hidden,)."""
        return self._tensors[name]


def quantized_weights(folder: Path, architecture: Architecture) -> QuantizedWeights:
    """The 8-bit weights of a model folder, quantised first where the cache has none.

    Raises:
        ModelError: the folder's tensors are not those of the model that its config.json tells of.
        CodeFilterError: the disk is full.
    """
    from safetensors.numpy import load_file

    _check(folder, architecture)
    sha256 = weights_sha256({path.name: remembered_sha256(path) for path in folder.glob("*.safetensors")})
    cached = quantized_folder(sha256, architecture)
    if not _is_whole(cached):  # a cache that cannot be written to may have it, but not the lock
        with exclusive(f"int8-{cached.name}"):
            if not _is_whole(cached):
                _write(folder, cached)
    return QuantizedWeights(load_file(cached / _FILE))


def quantized_folder(weights_sha256: str, architecture: Architecture) -> Path:
    """Where the 8-bit form of these weights is kept: its name tells all that it depends on."""
    sizes = (architecture.hidden, architecture.head_dim, architecture.intermediate)
    blocks = "-".join(str(len(rotation(size))) for size in sizes)
    return cache_path() / "int8" / f"{weights_sha256[:16]}-{_VERSION}-{blocks}"


def quantized_folders(weights_sha256: str) -> list[Path]:
    """Every 8-bit form of these weights, of other versions of this package too."""
    return sorted((cache_path() / "int8").glob(f"{weights_sha256[:16]}*"))


def _check(folder: Path, architecture: Architecture) -> None:
    """`ModelError` where a folder's tensors are not those of the architecture."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, tuple[int, ...]] = {}
    try:
        for path in folder.glob("*.safetensors"):
            with safe_open(path, "np") as opened:
                names = list(opened.keys())
                found |= {name: tuple(opened.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path} cannot be read: {first_line(error)}", hint="Copy the model's folder again, whole."
        ) from error
    for name, shape in architecture.tensors.items():
        if found.get(name) != shape:
            raise ModelError(
                f"the model's weights do not fit its config.json: {name} is {found.get(name)}, not {shape}",
                hint="Copy the model's folder again, whole.",
            )


def rotation(size: int) -> NDArray[np.float32]:
    """The block of the rotation of `size` numbers, (block, block) float32: it is its own inverse.

    A normalised Hadamard matrix, of the largest power of two up to 128 that divides the size. Blocks of
    neighbouring numbers are multiplied with it, one after the other.
    """
    block = np.ones((1, 1))
    while 2 * len(block) <= _MAX_BLOCK and size % (2 * len(block)) == 0:
        block = np.block([[block, block], [block, -block]])
    return np.asarray(block / np.sqrt(len(block)), dtype=np.float32)


def quantize(folder: Path, target: Path) -> None:
    """Write a model folder's weights, rotated and quantised, as one safetensors file.

    A row w becomes round(w / s) with s = max|w| / 127 (symmetric, per output channel).
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    files: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        opened = safe_open(path, "pt")
        files |= dict.fromkeys(opened.keys(), opened)  # type: ignore[no-untyped-call]
    rotated = _Rotated(lambda name: files[name].get_tensor(name).float(), Architecture.from_folder(folder))
    tensors: dict[str, torch.Tensor] = {}
    for name in files:
        if name.endswith((".bias", ".k_proj.weight", ".v_proj.weight", "layernorm.weight")):
            continue  # written with what they belong to
        if name.endswith(".q_proj.weight"):
            parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
            joined = name.removesuffix("q_proj.weight") + "qkv"
        else:
            parts, joined = [name], name
        rows = torch.cat([rotated.weight(part) for part in parts])
        if rows.dim() == 1:
            tensors[joined] = rows
            continue
        scales = (rows.abs().amax(dim=1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
        tensors[joined] = (rows / scales).round().to(torch.int8)
        tensors[f"{joined}.scale"] = scales
        biases = [part.replace(".weight", ".bias") for part in parts]
        if any(bias in files for bias in biases):
            tensors[f"{joined}.bias"] = torch.cat([rotated.bias(bias) for bias in biases])
    save_file(tensors, target)


class _Rotated:
    """A model's tensors as they are when everything between its layers is rotated.

    A matrix W that reads rotated numbers becomes W H, one that writes them H W; H is its own inverse. What a
    layer norm multiplies with is multiplied into the matrices behind it, as it stands before the rotation.
    """

    def __init__(self, tensor: Callable[[str], torch.Tensor], architecture: Architecture) -> None:
        import torch

        self._tensor = tensor
        a = architecture
        sizes = {"hidden": a.hidden, "heads": a.head_dim, "inner": a.intermediate}
        self._blocks = {place: torch.from_numpy(rotation(size)) for place, size in sizes.items()}

    def weight(self, name: str) -> torch.Tensor:
        """A matrix (out, in), or the last norm's vector, which is not rotated."""
        weight = self._tensor(name)
        layer, _, kind = name.removesuffix(".weight").rpartition(".")
        match kind:
            case "embed_tokens" | "lm_head":
                return self._rotate(weight, "hidden")
            case "q_proj" | "k_proj" | "v_proj":
                norm = layer.replace("self_attn", "input_layernorm.weight")
                return self._written(self._rotate(weight * self._tensor(norm), "hidden"), kind)
            case "gate_proj" | "up_proj":
                norm = layer.replace("mlp", "post_attention_layernorm.weight")
                return self._rotate(weight * self._tensor(norm), "hidden")
            case "o_proj":
                return self._written(self._rotate(weight, "heads"), kind)
            case "down_proj":
                return self._written(self._rotate(weight, "inner"), kind)
        return weight

    def bias(self, name: str) -> torch.Tensor:
        """What a matrix adds to its product, (out,)."""
        kind = name.removesuffix(".bias").rpartition(".")[2]
        return self._written(self._tensor(name)[:, None], kind)[:, 0]

    def _written(self, matrix: torch.Tensor, kind: str) -> torch.Tensor:
        """The rows of a matrix of that kind, (out, n)."""
        place = {"v_proj": "heads", "o_proj": "hidden", "down_proj": "hidden"}.get(kind)
        return self._rotate(matrix.T, place).T if place else matrix

    def _rotate(self, numbers: torch.Tensor, place: str) -> torch.Tensor:
        block = self._blocks[place]
        return (numbers.reshape(*numbers.shape[:-1], -1, len(block)) @ block).reshape(numbers.shape)


def _write(folder: Path, cached: Path) -> None:
    remove_leftovers(cached)
    with atomic_folder(cached) as temporary:
        _quantize_in_a_process(folder, temporary / _FILE)
        record = {"sha256": sha256_of_file(temporary / _FILE)}
        (temporary / "record.json").write_text(json.dumps(record), encoding="utf-8")


def _is_whole(cached: Path) -> bool:
    try:
        record = json.loads((cached / "record.json").read_text(encoding="utf-8"))
        return bool(remembered_sha256(cached / _FILE) == record["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _quantize_in_a_process(folder: Path, target: Path) -> None:
    run_module(
        "codefilter.quantization",
        folder,
        target,
        doing=f"quantising {folder}",
        num_bytes=2 * sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        folder=target.parent,
        hint="Run with --engine torch, which takes the weights as they are.",
    )


if __name__ == "__main__":
    quantize(Path(sys.argv[1]), Path(sys.argv[2]))

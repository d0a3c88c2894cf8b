"""A model's matrices in 8 bits: one scale per output row, made once and kept in the cache.

In: a model folder's safetensors. Out: int8 matrices with float32 scales, vectors as float32, all by the names
of the original tensors (the three attention inputs are joined to one matrix).
Notable: a process of its own quantises, so that whoever completes needs neither torch nor its memory; what is
in the cache is checked by its sha256 before it is used, and made anew where it does not fit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codefilter.errors import ModelError
from codefilter.model_folder import weights_sha256
from codefilter.paths import (
    atomic_folder,
    cache_path,
    exclusive,
    remembered_sha256,
    remove_leftovers,
    sha256_of_file,
)

_VERSION = 1  # of what is written here: another one is made anew
_FILE = "model-int8.safetensors"


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


def quantized_weights(folder: Path) -> QuantizedWeights:
    """The 8-bit weights of a model folder, quantised first where the cache has none.

    Raises:
        ModelError: the folder's tensors are not those of a Llama or Qwen2 model.
        CodeFilterError: the disk is full.
    """
    from safetensors.numpy import load_file

    sha256 = weights_sha256({path.name: remembered_sha256(path) for path in folder.glob("*.safetensors")})
    cached = quantized_folder(sha256)
    if not _is_whole(cached):  # a cache that cannot be written to may have it, but not the lock
        with exclusive(f"int8-{sha256[:16]}"):
            if not _is_whole(cached):
                _write(folder, cached)
    return QuantizedWeights(load_file(cached / _FILE))


def quantized_folder(weights_sha256: str) -> Path:
    """Where the 8-bit form of these weights is kept."""
    return cache_path() / "int8" / weights_sha256[:16]


def quantize(folder: Path, target: Path) -> None:
    """Write a model folder's weights, quantised, as one safetensors file.

    A row w becomes round(w / s) with s = max|w| / 127 (symmetric, per output channel).
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    files: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        opened = safe_open(path, "pt")
        files |= dict.fromkeys(opened.keys(), opened)  # type: ignore[no-untyped-call]
    tensors: dict[str, torch.Tensor] = {}
    for name in files:
        if name.endswith((".bias", ".k_proj.weight", ".v_proj.weight")):
            continue  # written with what they belong to
        parts, joined = [name], name
        if name.endswith(".q_proj.weight"):
            parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
            joined = name.removesuffix("q_proj.weight") + "qkv"
        rows = torch.cat([files[part].get_tensor(part).float() for part in parts])
        if rows.dim() == 1:
            tensors[joined] = rows
            continue
        scales = (rows.abs().amax(dim=1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
        tensors[joined] = (rows / scales).round().to(torch.int8)
        tensors[f"{joined}.scale"] = scales
        biases = [part.replace(".weight", ".bias") for part in parts]
        if all(bias in files for bias in biases):
            tensors[f"{joined}.bias"] = torch.cat([files[bias].get_tensor(bias).float() for bias in biases])
    save_file(tensors, target)


def _write(folder: Path, cached: Path) -> None:
    remove_leftovers(cached)
    with atomic_folder(cached) as temporary:
        _in_a_process(folder, temporary / _FILE)
        record = {"version": _VERSION, "sha256": sha256_of_file(temporary / _FILE)}
        (temporary / "record.json").write_text(json.dumps(record), encoding="utf-8")


def _is_whole(cached: Path) -> bool:
    try:
        record = json.loads((cached / "record.json").read_text(encoding="utf-8"))
        return bool(record["version"] == _VERSION) and remembered_sha256(cached / _FILE) == record["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _in_a_process(folder: Path, target: Path) -> None:
    command = [sys.executable, "-P", "-m", "codefilter.quantization", str(folder), str(target)]
    finished = subprocess.run(command, check=False, capture_output=True, encoding="utf-8", errors="replace")
    if finished.returncode != 0:
        reason = (finished.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise ModelError(
            f"cannot quantise {folder}: {reason}",
            hint="Free some disk and memory, or use --engine torch, which takes the weights as they are.",
        )


if __name__ == "__main__":
    quantize(Path(sys.argv[1]), Path(sys.argv[2]))

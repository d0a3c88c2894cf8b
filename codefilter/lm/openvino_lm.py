"""The OpenVINO engine: for CPUs on which ONNX Runtime was not measured, and for computing in bfloat16.

In: the model folder of a Llama or Qwen2 model. Out: a `LanguageModel`.
Notable: the KV cache lives in the runtime's state, which only grows. What a draft or an edit made worthless
is not cut out at once: its slots are hidden by the attention mask, and cut when there are many of them.
Notable: the runtime can cancel a pass, but then takes shapes of the cancelled pass for those of a later one
(2026.4), so that is not used.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from codefilter.architecture import Architecture
from codefilter.errors import UsageError
from codefilter.lm.base import ModelIdentity
from codefilter.lm.cpu import CpuLanguageModel, CpuSession
from codefilter.lm.openvino_graph import build_graphs
from codefilter.machine import instructions
from codefilter.quantization import quantized_weights
from codefilter.tokenizer import Tokenizer

_KERNELS = 128
# what the runtime computes in when it may quantise them: int8 takes a dot product of bytes (VNNI)
_ACTIVATIONS = {
    "AMX": "int8",
    "AVX-512 VNNI": "int8",
    "AVX-VNNI": "int8",
    "AVX-512": "float32",
    "AVX2": "float32",
}
_MAX_HIDDEN_SLOTS = 256  # attention reads them in vain; cutting them out copies the whole KV cache


class OpenVinoLanguageModel(CpuLanguageModel):
    """A decoder in OpenVINO."""

    def __init__(
        self,
        folder: Path,
        identity: ModelIdentity,
        *,
        dtype: str = "auto",
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """Load a model; a `tokenizer` that has been read from the folder is not read again."""
        architecture = Architecture.from_folder(folder)
        core = ov.Core()
        numbers = choose_numbers(dtype)
        weights = quantized_weights(folder, architecture)
        layers, head = build_graphs(architecture, weights)
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            # kernels of shapes; prompts have ever new ones, and by default memory grows by gigabytes
            "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS,
        }
        layer_options = {
            "INFERENCE_PRECISION_HINT": numbers.precision,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": numbers.activation_group,
        }
        head_options = {"INFERENCE_PRECISION_HINT": "f32"}
        session = _OpenVinoSession(
            core.compile_model(layers, "CPU", options | layer_options).create_infer_request(),
            core.compile_model(head, "CPU", options | head_options).create_infer_request(),
            architecture,
        )
        version = importlib.metadata.version("openvino")
        super().__init__(
            session,
            identity,
            tokenizer or Tokenizer.from_folder(folder),
            architecture,
            weights.vector("model.norm.weight"),
            f"openvino {version}, cpu, rotated int8 weights, {numbers.description}",
        )


class _OpenVinoSession(CpuSession):
    """One slot of the runtime's state per token."""

    def __init__(self, layers: ov.InferRequest, head: ov.InferRequest, architecture: Architecture) -> None:
        super().__init__(architecture)
        self._layers = layers
        self._head = head
        self._slots: list[int] = []  # where each token's keys and values are
        self._num_slots = 0  # in the state, hidden ones too

    def crop(self, length: int) -> None:
        super().crop(length)
        del self._slots[length:]

    def hidden(self) -> NDArray[np.float32]:
        return np.array(self._layers.get_tensor("hidden").data)

    def _append(self, token_ids: Sequence[int], rows: int) -> None:
        super()._append(token_ids, rows)
        self._slots += range(self._num_slots - len(token_ids), self._num_slots)

    def _compute(
        self,
        token_ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        visible: NDArray[np.bool_],
        rows: NDArray[np.int64],
    ) -> None:
        """See `CpuSession`; the tokens get slots at the end of the state."""
        if self._num_slots - len(self._slots) > _MAX_HIDDEN_SLOTS or not self._slots:
            self._cut()
        mask = np.full((token_ids.size, self._num_slots + token_ids.size), -np.inf, np.float32)
        mask[:, self._slots] = 0
        mask[:, self._num_slots :][visible] = 0
        inputs = {
            "token_ids": token_ids[None],
            "positions": positions[None],
            "mask": mask[None, None],
            "rows": rows,
            "batch": np.zeros(1, np.int32),
        }
        try:
            self._layers.infer(inputs)
        except BaseException:  # how much of it is in the state, nobody knows
            self.crop(0)
            self._cut()
            raise
        self._num_slots += token_ids.size
        if rows.size:
            self._head.infer({"hidden": self._layers.get_tensor("hidden")})

    def _predictions(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._head.get_tensor("log_probabilities").data, self._head.get_tensor("entropies").data

    def _cut(self) -> None:
        """Cut hidden slots out of the state."""
        if self._slots:
            self._set_state(self._state())
        else:
            self._layers.reset_state()
            self._num_slots = 0

    def _state(self) -> list[NDArray[np.float32]]:
        states = self._layers.query_state()
        return [np.ascontiguousarray(state.state.data[:, :, self._slots]) for state in states]

    def _set_state(self, arrays: Sequence[NDArray[np.float32]]) -> None:
        for state, array in zip(self._layers.query_state(), arrays, strict=True):
            state.state = ov.Tensor(array)
        self._num_slots = arrays[0].shape[2]
        self._slots = list(range(self._num_slots))


@dataclass(frozen=True)
class Numbers:
    """In which dtypes the layers compute."""

    precision: str  # the runtime's name
    activation_group: (
        int  # numbers that share a scale when activations are quantised to 8 bits; 0: they are not
    )
    description: str


def describe_numbers(dtype: str) -> str:
    """`choose_numbers`, for people."""
    return choose_numbers(dtype).description


def choose_numbers(dtype: str) -> Numbers:
    """The named dtype; for "auto" 8-bit activations in matrix products, float32 elsewhere.

    On a processor with VNNI that is faster than bfloat16 and as near to the reference (`codefilter speed
    engines`); on other x86 ones the runtime computes in float32 all the same, to the last digit, and the
    description says so: it tells results of the two apart. Which it is where a system does not tell the
    processor's instructions is not known.
    """
    activations = _ACTIVATIONS.get(instructions(), "int8 or float32")
    named = {
        "auto": Numbers("f32", 128, f"{activations} activations"),
        "float32": Numbers("f32", 0, "float32"),
        "bfloat16": Numbers("bf16", 0, "bfloat16"),
    }
    if dtype not in named:
        raise UsageError(
            f"the openvino engine does not compute in {dtype!r}", hint=f"One of: {', '.join(named)}."
        )
    return named[dtype]

"""The ONNX Runtime engine: the fastest way on a CPU, with 8-bit dot products (VNNI) and without.

In: the model folder of a Llama or Qwen2 model. Out: a `LanguageModel`.
Notable: keys and values stand in buffers of our own, which the runtime writes into, so a draft that was wrong
is forgotten by counting fewer tokens: the next pass overwrites what stands behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from codefilter.architecture import Architecture
from codefilter.errors import ModelError, UsageError, first_line
from codefilter.lm.base import ModelIdentity
from codefilter.lm.cpu import CpuLanguageModel, CpuSession
from codefilter.lm.onnx_graph import Tensors, build_byte_product, build_graph
from codefilter.quantization import quantized_weights
from codefilter.tokenizer import Tokenizer

_MIN_BUFFER_TOKENS = 1024
_HEAD_MULTIPLE = 16  # what the runtime's attention can do
_FATAL = 4  # what is worse than an exception, which is raised anyway
_NUMBERS = {"auto": "int8 activations", "float32": "float32"}
_RESULTS = ("hidden", "log_probabilities", "entropies")


class OnnxLanguageModel(CpuLanguageModel):
    """A decoder in ONNX Runtime."""

    def __init__(
        self,
        folder: Path,
        identity: ModelIdentity,
        *,
        dtype: str = "auto",
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """Load a model; a `tokenizer` that has been read from the folder is not read again."""
        numbers = describe_numbers(dtype)
        architecture = Architecture.from_folder(folder)
        weights = quantized_weights(folder, architecture)
        norm = weights.vector("model.norm.weight")
        graph, tensors = build_graph(
            architecture, weights, exact=dtype == "float32", signed=adds_byte_products_exactly()
        )
        del weights  # the graph has other forms of them: less memory while the runtime makes its own
        super().__init__(
            _OnnxSession(_inference_session(graph, tensors), architecture),
            identity,
            tokenizer or Tokenizer.from_folder(folder),
            architecture,
            norm,
            f"onnxruntime {ort.__version__}, cpu, rotated int8 weights, {numbers}",
        )


@cache
def adds_byte_products_exactly() -> bool:
    """Whether products of unsigned and signed bytes are summed in full, as VNNI does, and fast.

    Without it the runtime's quickest way cuts sums of two products to 16 bits. The runtime is asked, not the
    processor: a system may not tell what that can do, and a runtime may not use it.
    """
    size, largest, smallest = 64, np.iinfo(np.uint8).max, np.iinfo(np.int8).min
    session = _inference_session(build_byte_product(np.full((size, size), smallest, np.int8)), {})
    one_row, many_rows = (  # for which the runtime has different ways
        session.run(None, {"rows": np.full((count, size), largest, np.uint8)})[0] for count in (1, size)
    )
    exact = size * largest * smallest
    return bool((one_row == exact).all() and (many_rows == exact).all())


def _inference_session(graph: bytes, tensors: Tensors) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    # further levels look for what this graph says already: 4 s longer to load, no faster
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_mem_pattern = False  # plans memory by the shapes of inputs, which are ever new ones
    options.add_session_config_entry("session.force_spinning_stop", "1")  # threads wait, but not after a pass
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in tensors.values()]
    options.add_external_initializers(list(tensors), values)
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own kinds, without a common one
        raise ModelError(
            f"onnxruntime {ort.__version__} cannot run this model: {first_line(error)}",
            hint='Run: pip install "codefilter[cpu]", or use --engine torch.',
        ) from error


class _OnnxSession(CpuSession):
    def __init__(self, runtime: ort.InferenceSession, architecture: Architecture) -> None:
        super().__init__(architecture)
        self._runtime = runtime
        self._binding = runtime.io_binding()
        names = [output.name for output in runtime.get_outputs()]
        empty = np.zeros((1, architecture.kv_heads, 0, architecture.head_dim), np.float32)
        self._buffers = {name: empty for name in names if name not in _RESULTS}
        self._inputs: Tensors = {}
        self._results: Tensors = {}

    def hidden(self) -> NDArray[np.float32]:
        return self._results["hidden"]

    def _compute(
        self,
        token_ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        visible: NDArray[np.bool_],
        rows: NDArray[np.int64],
    ) -> None:
        past, total = len(self._token_ids), len(self._token_ids) + token_ids.size
        self._make_room(total)
        mask = np.zeros((token_ids.size, total), np.float32)
        mask[:, past:][~visible] = -np.inf
        self._inputs = {  # the runtime does not copy them
            "token_ids": token_ids[None],
            "positions": positions[None].astype(np.int64),
            "mask": mask[None, None],
            "last": np.array([[total - 1]], np.int32),
            "total": np.array(total, np.int32),
            "rows": rows.astype(np.int64),
        }
        for name, array in self._inputs.items():
            self._binding.bind_cpu_input(name, array)
        for name in _RESULTS:
            self._binding.bind_output(name)
        self._runtime.run_with_iobinding(self._binding)
        outputs = zip(self._binding.get_outputs()[-len(_RESULTS) :], _RESULTS, strict=True)
        self._results = {name: value.numpy() for value, name in outputs}

    def _predictions(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._results["log_probabilities"], self._results["entropies"]

    def _state(self) -> list[NDArray[np.float32]]:
        return [array[:, :, : len(self._token_ids)].copy() for array in self._buffers.values()]

    def _set_state(self, arrays: Sequence[NDArray[np.float32]]) -> None:
        self._make_room(arrays[0].shape[2])
        for buffer, array in zip(self._buffers.values(), arrays, strict=True):
            buffer[:, :, : array.shape[2]] = array

    def _make_room(self, tokens: int) -> None:
        """Let every buffer hold so many tokens, those that it holds included."""
        capacity = next(iter(self._buffers.values())).shape[2]
        if tokens <= capacity:
            return
        capacity = max(tokens, 2 * capacity, _MIN_BUFFER_TOKENS)
        larger = {  # all of them first: there may be no memory for one
            name: np.zeros((*old.shape[:2], capacity, old.shape[3]), np.float32)
            for name, old in self._buffers.items()
        }
        for name, new in larger.items():
            old = self._buffers[name]
            new[:, :, : old.shape[2]] = old
            value = ort.OrtValue.ortvalue_from_numpy(new)  # the same memory, on a CPU
            self._binding.bind_ortvalue_input(f"past_{name}", value)
            self._binding.bind_ortvalue_output(name, value)
        self._buffers = larger


def check_architecture(architecture: Architecture) -> None:
    """`ModelError` where the runtime cannot run a model that the CPU engines know."""
    if architecture.head_dim % _HEAD_MULTIPLE:
        raise ModelError(
            f"onnxruntime's attention heads have a multiple of {_HEAD_MULTIPLE} numbers, this model's have "
            f"{architecture.head_dim}",
            hint="Use --engine openvino or torch.",
        )


def describe_numbers(dtype: str) -> str:
    """In which numbers the layers compute, for "auto" and "float32"; `UsageError` for others."""
    if dtype not in _NUMBERS:
        raise UsageError(
            f"the onnxruntime engine does not compute in {dtype!r}", hint=f"One of: {', '.join(_NUMBERS)}."
        )
    return _NUMBERS[dtype]

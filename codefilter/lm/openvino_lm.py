"""The OpenVINO engine: the fastest way on a CPU, with 8-bit weights.

In: the model folder of a Llama or Qwen2 model. Out: a `LanguageModel`.
Notable: the KV cache lives in the runtime's state, which only grows. What a draft or an edit made worthless
is not cut out at once: its slots are hidden by the attention mask, and cut when there are many of them.
Notable: the runtime can cancel a pass, but then takes shapes of the cancelled pass for those of a later one
(2026.4). So a pass is never cancelled: what can be cancelled is read in slices, shorter on a slow processor.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from codefilter.errors import UsageError
from codefilter.lm import decoding
from codefilter.lm.base import Cancellation, Continuation, Generation, GenerationOptions, ModelIdentity
from codefilter.lm.keeping import KeptStates
from codefilter.lm.openvino_graph import Architecture, build_graphs
from codefilter.lm.packing import MAX_PACKED_TOKENS, Pack, packs
from codefilter.machine import instructions
from codefilter.quantization import quantized_weights
from codefilter.tokenizer import Tokenizer
from codefilter.types import LogLikelihood

_MIN_SLICE_TOKENS, _MAX_SLICE_TOKENS = 32, 64  # per pass of what can be cancelled; 16 read 24 % more slowly
_LONG_PASS_SECONDS = 0.12  # a cancellation is to take effect within 0.15
_KERNELS = 128
_KEPT_BYTES = 200 << 20  # of earlier prompts: 8,500 tokens of half a billion parameters
# what the runtime computes in when it may quantise them: int8 takes a dot product of bytes (VNNI)
_ACTIVATIONS = {
    "AMX": "int8",
    "AVX-512 VNNI": "int8",
    "AVX-VNNI": "int8",
    "AVX-512": "float32",
    "AVX2": "float32",
}
_MAX_HIDDEN_SLOTS = 256  # attention reads them in vain; cutting them out copies the whole KV cache


class OpenVinoLanguageModel:
    """A decoder of our own graph behind the `LanguageModel` interface."""

    def __init__(
        self,
        folder: Path,
        identity: ModelIdentity,
        *,
        dtype: str = "auto",
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """Load a model; a `tokenizer` that has been read from the folder is not read again."""
        self.identity = identity
        self.tokenizer = tokenizer or Tokenizer.from_folder(folder)
        architecture = Architecture.from_folder(folder)
        self.context_length = architecture.context_length
        core = ov.Core()
        numbers = choose_numbers(dtype)
        weights = quantized_weights(folder)
        layers, head = build_graphs(architecture, weights)
        self._norm = weights.vector("model.norm.weight"), architecture.epsilon
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
        self._session = _OpenVinoSession(
            core.compile_model(layers, "CPU", options | layer_options).create_infer_request(),
            core.compile_model(head, "CPU", options | head_options).create_infer_request(),
            _KEPT_BYTES // architecture.state_bytes,
        )
        version = importlib.metadata.version("openvino")
        self.description = f"openvino {version}, cpu, int8 weights, {numbers.description}"

    def log_likelihoods(
        self,
        context: Sequence[int],
        continuations: Sequence[Continuation],
        cancellation: Cancellation | None = None,
    ) -> list[LogLikelihood]:
        """See `LanguageModel.log_likelihoods`."""
        shared, last = decoding.split_context(context, continuations, self.context_length)
        self._session.set_aside(shared)
        if shared:
            decoding.read_prompt(self._session, shared, cancellation)
        self._session.crop(len(shared))
        results: list[LogLikelihood] = []
        max_tokens = MAX_PACKED_TOKENS if cancellation is None else self._session.slice_tokens
        for pack in packs(last, len(shared), continuations, max_tokens):
            if cancellation is not None:
                cancellation.raise_if_cancelled()
            results += pack.log_likelihoods(*self._session.score(pack))
        return results

    def forget(self) -> None:
        """See `LanguageModel.forget`."""
        self._session.forget()

    def hidden_states(
        self, token_ids: Sequence[int], num_states: int, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """See `HiddenStateModel.hidden_states`. The norm is a part of the head, so it is done again here."""
        self._session.set_aside(token_ids)
        last = decoding.read_before_states(
            self._session, token_ids, num_states, self.context_length, cancellation
        )
        self._session.forward(last, cancellation, rows=num_states)
        hidden = self._session.hidden()
        scale, epsilon = self._norm
        size = np.sqrt(np.mean(hidden**2, axis=1, keepdims=True) + epsilon)
        return np.asarray(hidden / size * scale, dtype=np.float32)

    def generate(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        cancellation: Cancellation | None = None,
    ) -> list[Generation]:
        """See `LanguageModel.generate`."""
        return decoding.generate(
            self._session, self.tokenizer, self.context_length, prompt_ids, options, cancellation
        )

    def reusable_tokens(self, prompt_ids: Sequence[int]) -> int:
        """See `LanguageModel.reusable_tokens`."""
        return self._session.reusable_tokens(prompt_ids)


class _OpenVinoSession:
    """The KV cache of the last request, kept for the next: one slot of the runtime's state per token."""

    def __init__(self, layers: ov.InferRequest, head: ov.InferRequest, max_kept_tokens: int = 0) -> None:
        self.outputs: list[Sequence[int]] = []
        self.slice_tokens = _MAX_SLICE_TOKENS
        self._layers = layers
        self._head = head
        self._kept: KeptStates[list[NDArray[np.float32]]] = KeptStates(max_kept_tokens)
        self._is_for_writing = False
        self._token_ids: list[int] = []
        self._slots: list[int] = []  # where each token's keys and values are
        self._num_slots = 0  # in the state, hidden ones too

    @property
    def token_ids(self) -> Sequence[int]:
        return self._token_ids

    def crop(self, length: int) -> None:
        del self._token_ids[length:]
        del self._slots[length:]

    def set_aside(self, token_ids: Sequence[int]) -> None:
        """Keep what was read to write from it, where reading these tokens would lose it."""
        if self._is_for_writing:
            self._kept.set_aside(self._token_ids, token_ids, self._visible)
        self._is_for_writing = False

    def recall(self, token_ids: Sequence[int]) -> None:
        self._is_for_writing = True
        found = self._kept.exchange(self._token_ids, token_ids, self._visible)
        if found is not None:
            self._token_ids = list(found.token_ids)
            self._set_state(found.state)

    def forget(self) -> None:
        self.crop(0)
        self.outputs.clear()
        self._kept.clear()

    def reusable_tokens(self, token_ids: Sequence[int]) -> int:
        return self._kept.reusable_tokens(self._token_ids, token_ids)

    def forward(
        self, token_ids: Sequence[int], cancellation: Cancellation | None, rows: int = 1
    ) -> NDArray[np.float32]:
        if cancellation is None:
            self._append(token_ids, rows)
        else:
            for part, wanted in decoding.slices(token_ids, rows, lambda: self.slice_tokens):
                cancellation.raise_if_cancelled()
                started = time.perf_counter()
                self._append(part, wanted)
                if len(part) >= self.slice_tokens:
                    self.slice_tokens = _next_slice_tokens(self.slice_tokens, time.perf_counter() - started)
        log_probabilities, _ = self._predictions()
        return log_probabilities.copy()  # the next pass overwrites them

    def score(self, pack: Pack) -> tuple[list[float], list[float]]:
        """Log-probabilities of a pack's targets and entropies there; its tokens are forgotten at once."""
        if not pack.targets.size:
            return [], []
        segment = np.repeat(np.arange(len(pack.segments)), pack.segments)
        visible = (segment[:, None] == segment) & np.tri(segment.size, dtype=bool)
        self._infer(pack.token_ids, pack.positions, visible, pack.rows)
        log_probabilities, entropies = self._predictions()
        return log_probabilities[np.arange(pack.targets.size), pack.targets].tolist(), entropies.tolist()

    def hidden(self) -> NDArray[np.float32]:
        """The last layer's output at the rows of the last pass, (rows, hidden), before the final norm."""
        return np.array(self._layers.get_tensor("hidden").data)

    def _append(self, token_ids: Sequence[int], rows: int) -> None:
        start, length = len(self._token_ids), len(token_ids)
        self._infer(
            np.asarray(token_ids, dtype=np.int64),
            np.arange(start, start + length),
            np.tri(length, dtype=bool),
            np.arange(length - rows, length),
        )
        self._slots += range(self._num_slots - length, self._num_slots)
        self._token_ids += token_ids

    def _infer(
        self,
        token_ids: NDArray[np.int64],  # (n,)
        positions: NDArray[np.int64],  # (n,)
        visible: NDArray[np.bool_],  # (n, n): which of the new tokens each of them attends to
        rows: NDArray[np.int64],  # (r,)
    ) -> None:
        """Append to the state; predictions of the wanted rows are in the head's output."""
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
        """Log-probabilities (r, vocabulary) and entropies (r,) of the last pass, until the next one."""
        return self._head.get_tensor("log_probabilities").data, self._head.get_tensor("entropies").data

    def _cut(self) -> None:
        """Cut hidden slots out of the state."""
        if self._slots:
            self._set_state(self._visible())
        else:
            self._layers.reset_state()
            self._num_slots = 0

    def _visible(self) -> list[NDArray[np.float32]]:
        """A copy of every key and value that is not hidden, (1, kv_heads, tokens, head_dim) each."""
        states = self._layers.query_state()
        return [np.ascontiguousarray(state.state.data[:, :, self._slots]) for state in states]

    def _set_state(self, arrays: Sequence[NDArray[np.float32]]) -> None:
        for state, array in zip(self._layers.query_state(), arrays, strict=True):
            state.state = ov.Tensor(array)
        self._num_slots = arrays[0].shape[2]
        self._slots = list(range(self._num_slots))


def _next_slice_tokens(tokens: int, seconds: float) -> int:
    """Half as many where a pass over so many took long, twice as many where that would still be quick."""
    if seconds > _LONG_PASS_SECONDS:
        return max(tokens // 2, _MIN_SLICE_TOKENS)
    return min(2 * tokens, _MAX_SLICE_TOKENS) if 2 * seconds < _LONG_PASS_SECONDS else tokens


@dataclass(frozen=True)
class Numbers:
    """In which dtypes the layers compute."""

    precision: str  # the runtime's name
    activation_group: (
        int  # numbers that share a scale when activations are quantised to 8 bits; 0: they are not
    )
    description: str


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

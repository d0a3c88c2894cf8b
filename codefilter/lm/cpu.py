"""What the CPU engines share: a decoder of our own graph, and the KV cache of its last requests.

In: a runtime's `CpuSession`. Out: a `LanguageModel`.
Notable: a runtime's pass is never cancelled in the middle. What can be cancelled is read in slices, shorter
on a slow processor; but a single continuation that is scored goes in one pass.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codefilter.architecture import Architecture
from codefilter.lm import decoding
from codefilter.lm.base import Cancellation, Continuation, Generation, GenerationOptions, ModelIdentity
from codefilter.lm.keeping import KeptStates
from codefilter.lm.packing import Pack, packs
from codefilter.quantization import rotation
from codefilter.tokenizer import Tokenizer
from codefilter.types import LogLikelihood

_MIN_SLICE_TOKENS, _MAX_SLICE_TOKENS = 32, 64  # per pass of what can be cancelled; 16 read 24 % more slowly
_PACKED_TOKENS = 512  # attention reads all of a pack for each of its tokens: 2048 take 10 to 20 % longer
_LONG_PASS_SECONDS = 0.12  # a cancellation is to take effect within 0.15
_KEPT_BYTES = 200 << 20  # of earlier prompts: 8,500 tokens of half a billion parameters


class CpuSession(ABC):
    """The KV cache of the last request, kept for the next, with what a runtime computes in it."""

    def __init__(self, architecture: Architecture) -> None:
        self.outputs: list[Sequence[int]] = []
        self.slice_tokens = _MAX_SLICE_TOKENS
        self._kept: KeptStates[list[NDArray[np.float32]]] = KeptStates(
            _KEPT_BYTES // architecture.state_bytes
        )
        self._is_for_writing = False
        self._token_ids: list[int] = []

    @abstractmethod
    def _compute(
        self,
        token_ids: NDArray[np.int64],  # (n,)
        positions: NDArray[np.int64],  # (n,)
        visible: NDArray[np.bool_],  # (n, n): which of the new tokens each of them attends to
        rows: NDArray[np.int64],  # (r,)
    ) -> None:
        """One pass over tokens behind those of the session; they do not belong to it yet."""

    @abstractmethod
    def _predictions(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Log-probabilities (r, vocabulary) and entropies (r,) of the last pass, until the next one."""

    @abstractmethod
    def _state(self) -> list[NDArray[np.float32]]:
        """A copy of the keys and values of the session's tokens, (1, kv_heads, tokens, head_dim) each."""

    @abstractmethod
    def _set_state(self, arrays: Sequence[NDArray[np.float32]]) -> None:
        """Go back to what `_state` gave."""

    @abstractmethod
    def hidden(self) -> NDArray[np.float32]:
        """The last layer's output at the rows of the last pass, (rows, hidden), rotated, before the norm."""

    @property
    def token_ids(self) -> Sequence[int]:
        """What is computed so far."""
        return self._token_ids

    def crop(self, length: int) -> None:
        """Forget everything from position `length` on."""
        del self._token_ids[length:]

    def set_aside(self, token_ids: Sequence[int]) -> None:
        """Keep what was read to write from it, where reading these tokens would lose it."""
        if self._is_for_writing:
            self._kept.set_aside(self._token_ids, token_ids, self._state)
        self._is_for_writing = False

    def recall(self, token_ids: Sequence[int]) -> None:
        """Go back to an earlier KV cache where it spares much of reading these tokens; see `keeping`."""
        self._is_for_writing = True
        found = self._kept.exchange(self._token_ids, token_ids, self._state)
        if found is not None:
            self.crop(0)  # should there be no memory for the state, it is of nothing
            self._set_state(found.state)
            self._token_ids = list(found.token_ids)

    def forget(self) -> None:
        """Drop everything, the last outputs too."""
        self.crop(0)
        self.outputs.clear()
        self._kept.clear()

    def reusable_tokens(self, token_ids: Sequence[int]) -> int:
        """How many of the first tokens need not be read again."""
        return self._kept.reusable_tokens(self._token_ids, token_ids)

    def forward(
        self, token_ids: Sequence[int], cancellation: Cancellation | None, rows: int = 1
    ) -> NDArray[np.float32]:
        """See `decoding.Session`."""
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
        self._compute(pack.token_ids, pack.positions, visible, pack.rows)
        log_probabilities, entropies = self._predictions()
        return log_probabilities[np.arange(pack.targets.size), pack.targets].tolist(), entropies.tolist()

    def _append(self, token_ids: Sequence[int], rows: int) -> None:
        start, length = len(self._token_ids), len(token_ids)
        self._compute(
            np.asarray(token_ids, dtype=np.int64),
            np.arange(start, start + length),
            np.tri(length, dtype=bool),
            np.arange(length - rows, length),
        )
        self._token_ids += token_ids


class CpuLanguageModel:
    """A decoder of our own graph behind the `LanguageModel` interface."""

    def __init__(
        self,
        session: CpuSession,
        identity: ModelIdentity,
        tokenizer: Tokenizer,
        architecture: Architecture,
        norm: NDArray[np.float32],  # the last layer norm's weights, (hidden,)
        description: str,
    ) -> None:
        self.identity = identity
        self.tokenizer = tokenizer
        self.context_length = architecture.context_length
        self.description = description
        self._session = session
        self._norm = norm, architecture.epsilon

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
        max_tokens = _PACKED_TOKENS if cancellation is None else self._session.slice_tokens
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
        block = rotation(hidden.shape[1])
        hidden = (hidden.reshape(-1, len(block)) @ block).reshape(
            hidden.shape
        )  # as the model itself has them
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


def _next_slice_tokens(tokens: int, seconds: float) -> int:
    """Half as many where a pass over so many took long, twice as many where that would still be quick."""
    if seconds > _LONG_PASS_SECONDS:
        return max(tokens // 2, _MIN_SLICE_TOKENS)
    return min(2 * tokens, _MAX_SLICE_TOKENS) if 2 * seconds < _LONG_PASS_SECONDS else tokens

"""A model without weights, for tests and for trying things out: it copies.

It predicts that what followed the longest earlier occurrence of the last bytes will follow again, as
repository code often does. So a chunk that holds the answer raises the likelihood of the answer, one that
holds a wrong continuation lowers it, and all the rest does next to nothing: planted cases have known signs.
Tokens are bytes; the control tokens are those of Qwen2.5-Coder.

The name ``fake:prompt_ms=0.5,token_ms=20`` gives it delays per token, which cancellation interrupts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codefilter.errors import UsageError
from codefilter.lm import decoding
from codefilter.lm.base import Cancellation, Continuation, Generation, GenerationOptions, ModelIdentity
from codefilter.tokenizer import BYTE_OF_CHARACTER, Tokenizer
from codefilter.types import LogLikelihood, content_hash

_CONTROL_TOKENS = (
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
_LONGEST_MATCH = 24
_SHORTEST_MATCH = 3
_STATE_TOKENS = 8


def byte_tokenizer_spec() -> dict[str, Any]:
    """``tokenizer.json`` of a tokenizer without merges: ids 0 to 255 are bytes, then control tokens."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": 256 + i, "content": n, "special": True, **flags} for i, n in enumerate(_CONTROL_TOKENS)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        # there is nothing to drop out; but without it ten thousand lines would be remembered, 2 kB for each
        "model": {"type": "BPE", "vocab": BYTE_OF_CHARACTER, "merges": [], "dropout": 0.5},
    }


def byte_tokenizer() -> Tokenizer:
    """The fake model's tokenizer."""
    return Tokenizer(json.dumps(byte_tokenizer_spec()))


class FakeLanguageModel:
    """The copying model behind the `LanguageModel` interface."""

    def __init__(self, name: str = "fake") -> None:
        self.identity = ModelIdentity(name, content_hash("fake"), "qwen2.5-coder")
        self.tokenizer = byte_tokenizer()
        self.context_length = 1 << 17  # generous: bytes are short
        self.description = "no weights, copies from its prompt"
        self._delays = _parse_delays(name)
        self._session = _FakeSession(self)

    def log_likelihoods(
        self,
        context: Sequence[int],
        continuations: Sequence[Continuation],
        cancellation: Cancellation | None = None,
    ) -> list[LogLikelihood]:
        """See `LanguageModel.log_likelihoods`."""
        shared, last = decoding.split_context(context, continuations, self.context_length)
        self.wait(len(context) + sum(len(c.token_ids) for c in continuations), "prompt_ms", cancellation)
        results = []
        for continuation in continuations:
            ids = [*shared, last, *continuation.token_ids]
            first = len(ids) - continuation.num_targets
            rows = [decoding.log_softmax(self.logits(ids[:position])) for position in range(first, len(ids))]
            values = tuple(float(row[token]) for row, token in zip(rows, ids[first:], strict=True))
            entropies = tuple(float(-(np.exp(row) * row).sum()) for row in rows)
            results.append(LogLikelihood(sum(values), values, entropies))
        return results

    def forget(self) -> None:
        """See `LanguageModel.forget`."""
        self._session.forget()

    def hidden_states(
        self, token_ids: Sequence[int], num_states: int, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """See `HiddenStateModel.hidden_states`: the last tokens themselves, scaled."""
        last = decoding.read_before_states(
            self._session, token_ids, num_states, self.context_length, cancellation
        )
        self._session.forward(last, cancellation, rows=num_states)
        padded = np.array([0] * _STATE_TOKENS + list(token_ids), dtype=np.float32) / 256
        ends = range(len(padded) - num_states + 1, len(padded) + 1)
        return np.stack([padded[end - _STATE_TOKENS : end] for end in ends])

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
        return decoding.common_prefix_length(self._session.token_ids, prompt_ids)

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits of the next token, (vocabulary,): the longer the match, the surer."""
        scores = np.zeros(self.tokenizer.vocabulary_size, np.float32)
        scores[ord("\n")] = 1.0  # where nothing matches, the line ends
        text = "".join(map(chr, token_ids))
        for length in range(min(_LONGEST_MATCH, len(text) - 1), _SHORTEST_MATCH - 1, -1):
            position = text.rfind(text[-length:], 0, len(text) - 1)
            if position >= 0:
                scores[ord(text[position + length])] += math.log(scores.size) + length / 4
                break
        return scores

    def wait(self, tokens: int, delay: str, cancellation: Cancellation | None) -> None:
        """Take the time that `tokens` tokens are said to take."""
        (cancellation or Cancellation()).wait(tokens * self._delays[delay] / 1000)


class _FakeSession:
    def __init__(self, model: FakeLanguageModel) -> None:
        self._model = model
        self._token_ids: list[int] = []
        self.outputs: list[Sequence[int]] = []

    @property
    def token_ids(self) -> Sequence[int]:
        return self._token_ids

    def forward(
        self, token_ids: Sequence[int], cancellation: Cancellation | None, rows: int = 1
    ) -> NDArray[np.float32]:
        delay = "token_ms" if len(token_ids) == rows else "prompt_ms"
        self._model.wait(len(token_ids), delay, cancellation)
        self._token_ids += token_ids
        length = len(self._token_ids)
        return np.stack(
            [self._model.logits(self._token_ids[:end]) for end in range(length - rows + 1, length + 1)]
        )

    def crop(self, length: int) -> None:
        del self._token_ids[length:]

    def recall(self, token_ids: Sequence[int]) -> None:
        """Nothing is kept."""

    def forget(self) -> None:
        self.crop(0)
        self.outputs.clear()


def _parse_delays(name: str) -> dict[str, float]:
    """``fake:prompt_ms=0.5,token_ms=20`` → delays in milliseconds per token."""
    delays = {"prompt_ms": 0.0, "token_ms": 0.0}
    for setting in filter(None, name.partition(":")[2].split(",")):
        key, _, value = setting.partition("=")
        try:
            delays[{key: key for key in delays}[key]] = float(value)
        except (KeyError, ValueError):
            raise UsageError(
                f"the fake model does not understand {setting!r}",
                hint="Write fake:prompt_ms=0.5,token_ms=20 (milliseconds per token).",
            ) from None
    return delays

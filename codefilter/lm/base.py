"""What a language model must do here: score continuations of a context, and generate.

In: token ids. Out: `LogLikelihood`s and `Generation`s; of some engines hidden states too. The engines are
beside this file (`torch_lm`, `onnx_lm`, `openvino_lm`, `remote`; `fake` for tests); `loading` picks one by
name.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from codefilter.errors import CancelledError, ModelError
from codefilter.tokenizer import Tokenizer
from codefilter.types import FinishReason, LogLikelihood


class Cancellation:
    """A flag that one thread sets and the model's thread reads, between layers and between tokens."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop; it ends with `CancelledError` soon after."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep, but at most until cancelled; then raise."""
        self._event.wait(seconds)
        self.raise_if_cancelled()

    def raise_if_cancelled(self) -> None:
        """Raise `CancelledError` once cancelled."""
        if self._event.is_set():
            raise CancelledError("The request was cancelled.")


UNVERIFIED = " (unverified)"


@dataclass(frozen=True)
class ModelIdentity:
    """What labels, filters and results know a model by."""

    name: str
    sha256: str  # of the weights as they were published: the GGUF file, or all safetensors files in order
    family: str  # key of the fill-in-the-middle formats in `codefilter.prompts.formats`
    revision: str = ""  # where the weights came from has revisions

    @property
    def is_unverified(self) -> bool:
        """Whether nobody vouches for a server's weights; then the name finds no model."""
        return self.name.endswith(UNVERIFIED)


@dataclass(frozen=True)
class Continuation:
    """Token ids that follow a shared context; the last `num_targets` of them are scored."""

    token_ids: tuple[int, ...]
    num_targets: int

    def __post_init__(self) -> None:
        if not 0 <= self.num_targets <= len(self.token_ids):
            raise ValueError(f"num_targets {self.num_targets} of {len(self.token_ids)} tokens")


@dataclass(frozen=True)
class GenerationOptions:
    """How to generate. Greedy at temperature 0; then every candidate but the first is left out."""

    max_new_tokens: int = 64
    max_lines: int | None = None
    required_text: str = ""  # the output must begin with it; it is not part of the returned text
    temperature: float = 0.0
    num_candidates: int = 1
    seed: int = 0
    speculate: bool = True  # check drafts from the prompt; greedy output is the same, up to rounding


@dataclass(frozen=True)
class Generation:
    """One generated candidate."""

    text: str
    token_ids: tuple[int, ...]
    log_likelihood: LogLikelihood
    finish_reason: FinishReason
    num_reused_tokens: int  # of the prompt, still in the KV cache from the last request
    prompt_seconds: float  # until the first token
    decode_seconds: float
    num_passes: int = 0  # of the model after the prompt: fewer than tokens where drafts were right


class LanguageModel(Protocol):
    """One loaded model. Calls are serialised by the caller; `Cancellation` may be set from any thread."""

    @property
    def identity(self) -> ModelIdentity:
        """Name and hash."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""

    @property
    def context_length(self) -> int:
        """Largest number of tokens, prompt and output together."""

    @property
    def description(self) -> str:
        """Engine, device and dtype, for people."""

    def log_likelihoods(
        self,
        context: Sequence[int],
        continuations: Sequence[Continuation],
        cancellation: Cancellation | None = None,
    ) -> list[LogLikelihood]:
        """Score continuations: log p(targets | context, what stands before them).

        With the entropy of every scored prediction, where the engine sees whole distributions. The shared
        context is computed once. Equal to scoring ``context + continuation`` one by one.
        The context must not be empty (the first target needs something before it).
        """

    def forget(self) -> None:
        """Drop all that is kept of earlier requests, outputs too: the next one starts from nothing.

        A server decides for itself what it keeps.
        """

    def generate(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        cancellation: Cancellation | None = None,
    ) -> list[Generation]:
        """Continue a prompt; `CancelledError` within 150 ms of a cancellation, during the prompt too.

        Or after one pass over 32 tokens, where a processor takes longer for these.
        """

    def reusable_tokens(self, prompt_ids: Sequence[int]) -> int:
        """How many of a prompt's first tokens `generate` would not have to read again."""


@runtime_checkable
class HiddenStateModel(LanguageModel, Protocol):
    """A model whose engine shows what it makes of a text, before it predicts from it."""

    def hidden_states(
        self, token_ids: Sequence[int], num_states: int, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """What the output matrix reads at the last `num_states` tokens, (num_states, hidden).

        That is the last layer's output after the final norm: transformers' ``last_hidden_state``. Equal
        whatever was read before; what the last request shares with these tokens is not computed again.
        """


def no_hidden_states(name: str, description: str) -> ModelError:
    """The error of a model without `HiddenStateModel`."""
    return ModelError(
        f"{name} ({description}) does not give hidden states",
        hint="A server does not tell them: load the model on this machine, without --engine remote.",
    )

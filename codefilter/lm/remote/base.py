"""What a protocol must do: write pieces of an output, score a continuation.

In: token ids. Out: `Piece`s and log-probabilities, checked: what a server says is not believed blindly.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from codefilter.errors import ModelError
from codefilter.lm.base import Continuation, GenerationOptions
from codefilter.lm.remote.connection import Connection, malformed
from codefilter.tokenizer import Tokenizer
from codefilter.types import FinishReason, LogLikelihood

_ROUNDING_NATS = 1e-3  # above zero, from servers that compute in half precision
_SMALLEST_NATS = -1e5  # servers write one of these for minus infinity, which no sum survives


@dataclass(frozen=True)
class Piece:
    """A token that a server wrote, or several where it does not tell them apart."""

    data: bytes
    token_ids: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()  # fewer than tokens where the server does not tell
    num_reused_tokens: int = 0  # of the prompt, as far as the server tells
    finish: FinishReason | None = None  # the last piece says why


class RemoteServer(Protocol):
    """One protocol, spoken with one model of one server."""

    @property
    def model(self) -> str:
        """The server's name of the model."""

    @property
    def context_length(self) -> int | None:
        """Tokens of prompt and output together; None where the server does not tell."""

    @property
    def description(self) -> str:
        """What the server is and what it cannot do, for people."""

    @property
    def num_parallel_scores(self) -> int:
        """How many continuations to score at a time."""

    def write(
        self, connection: Connection, prompt_ids: Sequence[int], options: GenerationOptions
    ) -> AsyncGenerator[Piece]:
        """Continue a prompt until the model ends or at `max_new_tokens`; the last piece has a finish."""

    async def score(
        self, connection: Connection, context: Sequence[int], continuation: Continuation
    ) -> LogLikelihood:
        """Score one continuation; `ModelError` with a hint where the server cannot."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Make an answer of another form than the protocol's a `ModelError`."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise malformed(what) from error


def checked_nats(values: Sequence[object], expected: int) -> tuple[float, ...]:
    """Log-probabilities as a server gave them; `ModelError` unless they can be that, one per token."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    possible = all(math.isfinite(n) and _SMALLEST_NATS < n <= _ROUNDING_NATS for n in numbers)
    if len(numbers) != expected or len(values) != expected or not possible:
        raise ModelError(
            f"the server's log-probabilities cannot be right: {len(values)} for {expected} tokens, "
            f"{[value for value in values if value not in numbers or not possible][:3]}",
            hint="Score with another server, or on this machine: --engine torch.",
        )
    return tuple(min(float(number), 0.0) for number in numbers)


def spelled(tokenizer: Tokenizer, token_id: int) -> bytes:
    """Bytes of a token that a server wrote; `ModelError` where the tokenizer does not have it."""
    if not 0 <= token_id < len(tokenizer.token_bytes):
        raise ModelError(
            f"the server wrote token {token_id}, which the tokenizer does not have",
            hint="Give the tokenizer of the server's model: remote:URL?tokenizer=NAME_OR_FOLDER",
        )
    return tokenizer.token_bytes[token_id]


def cannot_score(server: str, reason: str) -> ModelError:
    """A server does not give log-likelihoods of a given text."""
    return ModelError(
        f"{server} cannot score text: {reason}",
        hint="vLLM (prompt_logprobs) and llama-server can; or score on this machine: --engine torch.",
    )

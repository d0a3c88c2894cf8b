"""One output while it grows, and the rules that end it: the same for every engine, here or on a server.

In: tokens, one after the other. Out: a `Generation`. Lines are counted in the text after what is
required, so that an output does not depend on how the engine was made to begin.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from codefilter.errors import ModelError
from codefilter.lm.base import Generation, GenerationOptions
from codefilter.tokenizer import Tokenizer
from codefilter.types import FinishReason, LogLikelihood


class Output:
    """Tokens of one candidate."""

    def __init__(self, options: GenerationOptions) -> None:
        self._options = options
        self._started = time.perf_counter()
        self._required = options.required_text.encode()
        self._ids: list[int] = []
        self._log_probabilities: list[float] = []
        self._bytes = b""
        self._finish = FinishReason.LENGTH
        self._text: str | None = None

    @property
    def token_ids(self) -> Sequence[int]:
        """What is written so far."""
        return self._ids

    @property
    def missing(self) -> bytes:
        """What must come next of the required text."""
        return self._required[len(self._bytes) :]

    @property
    def keeps_to_required(self) -> bool:
        """Whether it begins with the required text, or is a beginning of it."""
        return self._bytes.startswith(self._required) or self._required.startswith(self._bytes)

    def append(self, data: bytes, token_ids: Sequence[int], log_probabilities: Sequence[float]) -> bool:
        """Add tokens and the bytes they stand for; True where a rule ends the output."""
        self._ids += token_ids
        self._log_probabilities += log_probabilities
        self._bytes += data
        if len(self._bytes) >= len(self._required):
            cut = cut_after_lines(self._written_text(), self._options.max_lines)
            if cut is not None:
                self._text, self._finish = cut, FinishReason.LINES
                return True
        return len(self._ids) >= self._options.max_new_tokens

    def end(self, reason: FinishReason) -> None:
        """Say why the output ends where no rule ended it."""
        self._finish = reason

    def result(self, num_reused_tokens: int, prompt_seconds: float, num_passes: int = 0) -> Generation:
        """The finished candidate."""
        values = tuple(self._log_probabilities)
        return Generation(
            text=self._written_text() if self._text is None else self._text,
            token_ids=tuple(self._ids),
            log_likelihood=LogLikelihood(sum(values), values),
            finish_reason=self._finish,
            num_reused_tokens=num_reused_tokens,
            prompt_seconds=prompt_seconds,
            decode_seconds=time.perf_counter() - self._started,
            num_passes=num_passes,
        )

    def _written_text(self) -> str:
        return self._bytes[len(self._required) :].decode("utf-8", "ignore")


def spelling_ids(tokenizer: Tokenizer, missing: bytes) -> list[int]:
    """Tokens that may come next where the output must go on with `missing`; `ModelError` where none can."""
    ids = tokenizer.ids_starting_with(missing)
    if not ids:
        raise ModelError(
            f"no token of the model begins with {missing!r}",
            hint="Report this: the tokenizer cannot spell a part of the line.",
        )
    return ids


def cut_after_lines(text: str, max_lines: int | None) -> str | None:
    """Text up to the end of its `max_lines`-th line with something in it; None while that end is not there.

    Blank lines do not count: after ``def f():`` the output's first line is the rest of a line that is
    already complete.
    """
    if max_lines is None:
        return None
    start = 0
    while (end := text.find("\n", start)) >= 0:
        max_lines -= bool(text[start:end].strip())
        if max_lines == 0:
            return text[:end]
        start = end + 1
    return None

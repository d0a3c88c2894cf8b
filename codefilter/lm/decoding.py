"""The decode loop that every local engine shares: reuse, healing, stop rules, cancellation.

In: prompt ids and `GenerationOptions`. Out: `Generation`s. An engine only supplies a `Session`: a sequence
whose keys and values it keeps, that grows by `forward` and shrinks by `crop`.
Notable: written here and not left to transformers' ``generate``, because the same rules must hold for every
engine, and because what is kept between keystrokes is decided here: the new prompt is compared with what
the session holds, and only what differs is computed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codefilter.errors import ModelError
from codefilter.lm.base import Cancellation, Continuation, Generation, GenerationOptions
from codefilter.lm.lookup import DRAFT_TOKENS, NgramIndex
from codefilter.tokenizer import Tokenizer
from codefilter.types import FinishReason, LogLikelihood

PROMPT_SLICE_TOKENS = 512


class Session(Protocol):
    """A token sequence and its keys and values."""

    @property
    def token_ids(self) -> Sequence[int]:
        """What is computed so far."""

    def forward(
        self, token_ids: Sequence[int], cancellation: Cancellation | None, rows: int = 1
    ) -> NDArray[np.float32]:
        """Append tokens; logits after each of the last `rows` of them, shape (rows, vocabulary).

        On `CancelledError` the session is as it was before the call.
        """

    def crop(self, length: int) -> None:
        """Forget everything from position `length` on."""


def generate(
    session: Session,
    tokenizer: Tokenizer,
    context_length: int,
    prompt_ids: Sequence[int],
    options: GenerationOptions,
    cancellation: Cancellation | None,
) -> list[Generation]:
    """Continue a prompt; see `LanguageModel.generate`."""
    started = time.perf_counter()
    if not prompt_ids:
        raise ModelError("the prompt is empty", hint="Give the model at least one token to continue.")
    check_length(len(prompt_ids) + options.max_new_tokens, context_length)
    reused, logits = read_prompt(session, prompt_ids, cancellation)
    prompt_seconds = time.perf_counter() - started

    random = np.random.default_rng(options.seed)
    ngrams = NgramIndex(prompt_ids) if options.speculate and options.temperature <= 0 else None
    generations = []
    for _ in range(options.num_candidates if options.temperature > 0 else 1):
        session.crop(len(prompt_ids))
        candidate = _Candidate(session, tokenizer, options, random, ngrams, started, cancellation)
        candidate.run(logits)
        generations.append(candidate.result(reused, prompt_seconds))
    return generations


def read_prompt(
    session: Session, prompt_ids: Sequence[int], cancellation: Cancellation | None
) -> tuple[int, NDArray[np.float32]]:
    """Bring a session to a prompt.

    Returns:
        How many tokens' keys and values were still there, and the logits after the last, (1, vocabulary).
    """
    reused = min(common_prefix_length(session.token_ids, prompt_ids), len(prompt_ids) - 1)
    session.crop(reused)
    logits = np.empty((0, 0), np.float32)
    for start in range(reused, len(prompt_ids), PROMPT_SLICE_TOKENS):
        stop = min(start + PROMPT_SLICE_TOKENS, len(prompt_ids))
        logits = session.forward(prompt_ids[start:stop], cancellation)
    return reused, logits


def split_context(
    context: Sequence[int], continuations: Sequence[Continuation], context_length: int
) -> tuple[list[int], int]:
    """What of a context is read once, and its last token, whose logits predict each continuation's first.

    Raises:
        ValueError: the context is empty.
        ModelError: it is too long with the longest continuation.
    """
    if not context:
        raise ValueError("the context is empty: the first target needs something before it")
    longest = max((len(c.token_ids) for c in continuations), default=0)
    check_length(len(context) + longest, context_length)
    return list(context[:-1]), context[-1]


def check_length(tokens: int, context_length: int) -> None:
    """`ModelError` where prompt and output together are longer than the model's context."""
    if tokens > context_length:
        raise ModelError(
            f"{tokens} tokens exceed the model's context of {context_length}",
            hint="Lower prefix_tokens, suffix_tokens, cross_file_tokens or max_new_tokens.",
        )


class _Candidate:
    """One output while it grows."""

    def __init__(
        self,
        session: Session,
        tokenizer: Tokenizer,
        options: GenerationOptions,
        random: np.random.Generator,
        ngrams: NgramIndex | None,
        started: float,
        cancellation: Cancellation | None,
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._options = options
        self._random = random
        self._ngrams = ngrams
        self._prompt_length = len(session.token_ids)
        self._request_started = started
        self._started = time.perf_counter()
        self._cancellation = cancellation
        self._required = options.required_text.encode()
        self._ids: list[int] = []
        self._log_probabilities: list[float] = []
        self._bytes = b""
        self._finish = FinishReason.LENGTH
        self._text: str | None = None

    def run(self, logits: NDArray[np.float32]) -> None:
        """Extend the output until a stop rule holds; `logits` follow the prompt, (1, vocabulary)."""
        draft: list[int] = []
        while not self._accept(logits, draft):
            # what the model did not confirm of the draft is forgotten
            self._session.crop(self._prompt_length + len(self._ids) - 1)
            left = self._options.max_new_tokens - len(self._ids)
            draft = self._ngrams.draft(min(DRAFT_TOKENS, left - 1)) if self._ngrams is not None else []
            last_and_draft = [self._ids[-1], *draft]
            logits = self._session.forward(last_and_draft, self._cancellation, rows=len(last_and_draft))

    def _accept(self, logits: NDArray[np.float32], draft: list[int]) -> bool:
        """Pick tokens as long as they agree with the draft, and one more; True where the output is finished.

        Row i of `logits` follows the first i tokens of the draft.
        """
        for position, row in enumerate(logits):
            if self._cancellation is not None:
                self._cancellation.raise_if_cancelled()
            token_id, log_probability = self._pick(row)
            if token_id in self._tokenizer.control_ids:
                self._finish = FinishReason.END
                return True
            self._ids.append(token_id)
            self._log_probabilities.append(log_probability)
            self._bytes += self._tokenizer.token_bytes[token_id]
            if self._ngrams is not None:
                self._ngrams.extend([token_id])
            if self._finished():
                return True
            if position < len(draft) and token_id != draft[position]:
                break
        return False

    def _pick(self, logits: NDArray[np.float32]) -> tuple[int, float]:
        log_probabilities = log_softmax(logits)
        missing = self._required[len(self._bytes) :]
        if missing and self._required.startswith(self._bytes):
            allowed = np.asarray(self._tokenizer.ids_starting_with(missing))
            if allowed.size == 0:
                raise ModelError(
                    f"no token of the model begins with {missing!r}",
                    hint="Report this: the tokenizer cannot spell a part of the line.",
                )
        else:
            allowed = None
        if self._options.temperature <= 0:
            token_id = _argmax(log_probabilities, allowed)
        else:
            token_id = self._sample(log_probabilities, allowed)
        return token_id, float(log_probabilities[token_id])

    def _sample(self, log_probabilities: NDArray[np.float32], allowed: NDArray[np.int64] | None) -> int:
        ids = np.arange(log_probabilities.size) if allowed is None else allowed
        scaled = log_softmax(log_probabilities[ids] / self._options.temperature).astype(np.float64)
        order = np.argsort(-scaled, kind="stable")
        probabilities = np.exp(scaled[order])
        nucleus = int(np.searchsorted(np.cumsum(probabilities), self._options.top_p)) + 1
        probabilities = probabilities[:nucleus] / probabilities[:nucleus].sum()
        return int(ids[order[self._random.choice(probabilities.size, p=probabilities)]])

    def _finished(self) -> bool:
        """Apply the stop rules; sets the text where a rule cuts it."""
        options = self._options
        if len(self._bytes) >= len(self._required):
            text = self._bytes[len(self._required) :].decode("utf-8", "ignore")
            cut = cut_after_lines(text, options.max_lines)
            if cut is not None:
                self._text, self._finish = cut, FinishReason.LINES
                return True
            positions = [p for p in (text.find(stop) for stop in options.stop) if p >= 0]
            if positions:
                self._text, self._finish = text[: min(positions)], FinishReason.STOP
                return True
        if len(self._ids) >= options.max_new_tokens:
            self._finish = FinishReason.LENGTH
            return True
        budget = options.time_budget_seconds
        if budget is not None and time.perf_counter() - self._request_started > budget:
            self._finish = FinishReason.TIME
            return True
        return False

    def result(self, num_reused_tokens: int, prompt_seconds: float) -> Generation:
        """The finished candidate."""
        text = self._text
        if text is None:
            text = self._bytes[len(self._required) :].decode("utf-8", "ignore")
        return Generation(
            text=text,
            token_ids=tuple(self._ids),
            log_likelihood=LogLikelihood(sum(self._log_probabilities), tuple(self._log_probabilities)),
            finish_reason=self._finish,
            num_reused_tokens=num_reused_tokens,
            prompt_seconds=prompt_seconds,
            decode_seconds=time.perf_counter() - self._started,
        )


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


def common_prefix_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of leading ids that two sequences share."""
    length = min(len(first), len(second))
    differs = np.flatnonzero(np.asarray(first[:length]) != np.asarray(second[:length]))
    return int(differs[0]) if differs.size else length


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-probabilities of one position; shape (vocabulary,)."""
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()), dtype=np.float32)


def _argmax(scores: NDArray[np.float32], allowed: NDArray[np.int64] | None) -> int:
    return int(scores.argmax()) if allowed is None else int(allowed[scores[allowed].argmax()])

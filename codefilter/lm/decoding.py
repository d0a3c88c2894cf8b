"""The decode loop that every local engine shares: reuse, healing, drafts, cancellation.

In: prompt ids and `GenerationOptions`. Out: `Generation`s. An engine only supplies a `Session`: a sequence
with its KV cache, that grows by `forward` and shrinks by `crop`.
Notable: written here and not left to transformers' ``generate``, because the same rules must hold for every
engine, and because what is kept between keystrokes is decided here: the new prompt is compared with what
the session holds, and only what differs is computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codefilter.errors import PromptError
from codefilter.lm.base import Cancellation, Continuation, Generation, GenerationOptions
from codefilter.lm.lookup import (
    FIRST_DRAFT_TOKENS,
    MAX_OUTPUTS,
    NGRAM_LENGTHS,
    NgramIndex,
    next_draft_tokens,
)
from codefilter.lm.writing import Output, spelling_ids
from codefilter.tokenizer import Tokenizer
from codefilter.types import FinishReason

PROMPT_SLICE_TOKENS = 512


class Session(Protocol):
    """A token sequence and its KV cache."""

    outputs: list[Sequence[int]]  # the last ones, with a few tokens before each

    @property
    def token_ids(self) -> Sequence[int]:
        """What is computed so far."""

    def forward(
        self, token_ids: Sequence[int], cancellation: Cancellation | None, rows: int = 1
    ) -> NDArray[np.float32]:
        """Append tokens; logits after each of the last `rows` of them, shape (rows, vocabulary).

        On `CancelledError` the session may hold the first of them, as the next request may have them too.
        """

    def crop(self, length: int) -> None:
        """Forget everything from position `length` on."""

    def recall(self, token_ids: Sequence[int]) -> None:
        """Go back to an earlier KV cache where it spares much of reading these tokens; see `keeping`."""

    def forget(self) -> None:
        """Drop everything, the last outputs too."""


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
    check_prompt(prompt_ids, options, context_length)
    session.recall(prompt_ids)
    reused, logits = read_prompt(session, prompt_ids, cancellation)
    prompt_seconds = time.perf_counter() - started

    random = np.random.default_rng(options.seed)
    greedy = options.temperature <= 0
    ngrams = NgramIndex(prompt_ids, session.outputs) if options.speculate and greedy else None
    generations = []
    for _ in range(1 if greedy else options.num_candidates):
        session.crop(len(prompt_ids))
        output = Output(options)
        candidate = _Candidate(session, tokenizer, options, random, ngrams, output, cancellation)
        generations.append(output.result(reused, prompt_seconds, candidate.run(logits)))
        session.outputs.append((*prompt_ids[-NGRAM_LENGTHS[0] :], *output.token_ids))
        del session.outputs[:-MAX_OUTPUTS]
    return generations


def read_prompt(
    session: Session, prompt_ids: Sequence[int], cancellation: Cancellation | None
) -> tuple[int, NDArray[np.float32]]:
    """Bring a session to a prompt.

    Returns:
        How many tokens were still in the KV cache, and the logits after the last, (1, vocabulary).
    """
    reused = min(common_prefix_length(session.token_ids, prompt_ids), len(prompt_ids) - 1)
    session.crop(reused)
    logits = np.empty((0, 0), np.float32)
    for start in range(reused, len(prompt_ids), PROMPT_SLICE_TOKENS):
        stop = min(start + PROMPT_SLICE_TOKENS, len(prompt_ids))
        logits = session.forward(prompt_ids[start:stop], cancellation)
    return reused, logits


def slices(
    token_ids: Sequence[int], rows: int, size: Callable[[], int]
) -> Iterator[tuple[Sequence[int], int]]:
    """Parts of what is read, after each of which it may end, with how many rows are wanted of each.

    The wanted rows, those of the last tokens, all belong to the last part, which may be a little longer.
    `size` is asked before every part.
    """
    start = 0
    while (stop := start + size()) <= len(token_ids) - rows:
        yield token_ids[start:stop], 0
        start = stop
    yield token_ids[start:], rows


def split_context(
    context: Sequence[int], continuations: Sequence[Continuation], context_length: int
) -> tuple[list[int], int]:
    """What of a context is read once, and its last token, whose logits predict each continuation's first.

    Raises:
        ValueError: the context is empty.
        PromptError: it is too long with the longest continuation.
    """
    if not context:
        raise ValueError("the context is empty: the first target needs something before it")
    longest = max((len(c.token_ids) for c in continuations), default=0)
    check_length(len(context) + longest, context_length)
    return list(context[:-1]), context[-1]


def read_before_states(
    session: Session,
    token_ids: Sequence[int],
    num_states: int,
    context_length: int,
    cancellation: Cancellation | None,
) -> list[int]:
    """Bring a session to where hidden states are wanted from, and say what is still to be read.

    Raises:
        ValueError: not that many tokens, or no state is wanted.
        PromptError: the text is too long for the model.
    """
    if not 0 < num_states <= len(token_ids):
        raise ValueError(f"{num_states} states of {len(token_ids)} tokens")
    check_length(len(token_ids), context_length)
    before, last = list(token_ids[:-num_states]), list(token_ids[-num_states:])
    if before:
        read_prompt(session, before, cancellation)
    session.crop(len(before))
    return last


def check_prompt(prompt_ids: Sequence[int], options: GenerationOptions, context_length: int) -> None:
    """`PromptError` where a prompt is empty, or too long with the output."""
    if not prompt_ids:
        raise PromptError("the prompt is empty", hint="Give the model at least one token to continue.")
    check_length(len(prompt_ids) + options.max_new_tokens, context_length)


def check_length(tokens: int, context_length: int) -> None:
    """`PromptError` where prompt and output together are longer than the model's context."""
    if tokens > context_length:
        raise PromptError(
            f"{tokens} tokens exceed the model's context of {context_length}",
            hint="Lower prefix_tokens, suffix_tokens, cross_file_tokens or max_new_tokens.",
        )


class _Candidate:
    """One output of a local engine."""

    def __init__(
        self,
        session: Session,
        tokenizer: Tokenizer,
        options: GenerationOptions,
        random: np.random.Generator,
        ngrams: NgramIndex | None,
        output: Output,
        cancellation: Cancellation | None,
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._options = options
        self._random = random
        self._ngrams = ngrams
        self._prompt_length = len(session.token_ids)
        self._output = output
        self._cancellation = cancellation

    def run(self, logits: NDArray[np.float32]) -> int:
        """Extend the output until a stop rule holds; `logits` follow the prompt, (1, vocabulary).

        Returns:
            How often the model was asked.
        """
        draft: list[int] = []
        written = self._output.token_ids
        num_passes, num_before, limit = 0, 0, FIRST_DRAFT_TOKENS
        while not self._accept(logits, draft):
            limit = next_draft_tokens(limit, len(draft), len(written) - num_before - 1)
            # what the model did not confirm of the draft is forgotten
            self._session.crop(self._prompt_length + len(written) - 1)
            left = self._options.max_new_tokens - len(written)
            draft = self._ngrams.draft(min(limit, left - 1)) if self._ngrams is not None else []
            num_before = len(written)
            last_and_draft = [written[-1], *draft]
            logits = self._session.forward(last_and_draft, self._cancellation, rows=len(last_and_draft))
            num_passes += 1
        return num_passes

    def _accept(self, logits: NDArray[np.float32], draft: list[int]) -> bool:
        """Pick tokens as long as they agree with the draft, and one more; True where the output is finished.

        Row i of `logits` follows the first i tokens of the draft.
        """
        for position, row in enumerate(logits):
            if self._cancellation is not None:
                self._cancellation.raise_if_cancelled()
            token_id, log_probability = self._pick(row)
            if token_id in self._tokenizer.control_ids:
                self._output.end(FinishReason.END)
                return True
            if self._ngrams is not None:
                self._ngrams.extend([token_id])
            if self._output.append(self._tokenizer.token_bytes[token_id], [token_id], [log_probability]):
                return True
            if position < len(draft) and token_id != draft[position]:
                break
        return False

    def _pick(self, logits: NDArray[np.float32]) -> tuple[int, float]:
        # a model may have more rows than the tokenizer has tokens: nothing is spelled by these
        log_probabilities = log_softmax(logits)[: len(self._tokenizer.token_bytes)]
        missing = self._output.missing
        allowed = np.asarray(spelling_ids(self._tokenizer, missing)) if missing else None
        if self._options.temperature <= 0:
            token_id = _argmax(log_probabilities, allowed)
        else:
            token_id = self._sample(log_probabilities, allowed)
        return token_id, float(log_probabilities[token_id])

    def _sample(self, log_probabilities: NDArray[np.float32], allowed: NDArray[np.int64] | None) -> int:
        ids = np.arange(log_probabilities.size) if allowed is None else allowed
        scaled = log_softmax(log_probabilities[ids] / self._options.temperature)
        probabilities = np.exp(scaled.astype(np.float64))
        return int(self._random.choice(ids, p=probabilities / probabilities.sum()))


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

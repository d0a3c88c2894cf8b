"""How likely a text is after a prompt: the measure behind labels, evaluation, and filters that read.

In: a `Prompt` and a text, the true one or the model's own draft. Out: a `Continuation` to score
(`LanguageModel.log_likelihoods`), or its `LogLikelihood`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from codefilter.lm.base import Cancellation, Continuation, GenerationOptions, LanguageModel
from codefilter.tokenizer import Tokenizer
from codefilter.types import LogLikelihood, Prompt, RetrievedChunk


def target_continuation(prompt: Prompt, target: str, tokenizer: Tokenizer) -> Continuation:
    """What follows ``prompt.token_ids`` when the target is written; every token with a part of it is scored.

    The healed end of the typed part and the target are tokenized as one text, as the model learned it; a
    token that holds the end of one and the beginning of the other counts as the target's.
    """
    token_ids = tokenizer.encode(prompt.healed_text + target)
    ends = np.cumsum([len(tokenizer.token_bytes[i]) for i in token_ids])
    not_target = int(np.searchsorted(ends, len(prompt.healed_text.encode()), side="right"))
    return Continuation(tuple(token_ids), len(token_ids) - not_target)


@dataclass(frozen=True)
class PromptReader:
    """A model and the prompts of one request (`codefilter.filters.base.Reader`)."""

    model: LanguageModel
    prompt_with: Callable[[Sequence[RetrievedChunk]], Prompt]
    cancellation: Cancellation | None = None

    @property
    def model_name(self) -> str:
        """The model's name, for people."""
        return self.model.identity.name

    @property
    def model_sha256(self) -> str:
        """The model: hash of its weights."""
        return self.model.identity.sha256

    def write_draft(self, num_tokens: int) -> tuple[int, ...]:
        """The first tokens that the model writes when it reads no chunks, the healed ones among them."""
        prompt = self.prompt_with([])
        options = GenerationOptions(max_new_tokens=num_tokens, required_text=prompt.healed_text)
        return self.model.generate(prompt.token_ids, options, self.cancellation)[0].token_ids

    def read_draft(self, draft: tuple[int, ...], chunks: Sequence[RetrievedChunk]) -> LogLikelihood:
        """How likely and how certain the draft's tokens are behind the prompt with these chunks."""
        return self.read(self.prompt_with(chunks), Continuation(draft, len(draft)))

    def read(self, prompt: Prompt, continuation: Continuation) -> LogLikelihood:
        """The log-likelihood of a continuation's targets."""
        return self.model.log_likelihoods(prompt.token_ids, [continuation], self.cancellation)[0]


@dataclass(frozen=True)
class TargetReader:
    """What really stands at a request's place (`codefilter.filters.base.Truth`)."""

    reader: PromptReader
    target: str

    def read_target(self, chunks: Sequence[RetrievedChunk]) -> LogLikelihood:
        """How likely the target is behind the prompt with these chunks."""
        prompt = self.reader.prompt_with(chunks)
        tokenizer = self.reader.model.tokenizer
        return self.reader.read(prompt, target_continuation(prompt, self.target, tokenizer))

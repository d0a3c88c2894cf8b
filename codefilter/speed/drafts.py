"""What drafts from the prompt save: prompt-lookup decoding on real completion tasks.

In: a loaded model, prompts of real tasks. Out: a `DraftTiming` per number of tokens to a draft. Baseline: the
same prompts written token by token.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codefilter.lm.base import Generation, GenerationOptions, LanguageModel
from codefilter.types import Prompt


@dataclass(frozen=True)
class DraftTiming:
    """Sums over all prompts; the prompts themselves are read beforehand."""

    drafts: bool
    prompts: int
    tokens: int
    passes: int
    tokens_per_pass: float
    seconds: float
    median_seconds: float  # of one completion
    ratio: float  # seconds of the baseline over these
    same_text: int  # completions that are the baseline's, letter by letter


def measure_drafts(
    model: LanguageModel, prompts: Sequence[tuple[Prompt, GenerationOptions]]
) -> list[DraftTiming]:
    """Write every completion without and with drafts, one right after the other."""
    plain: list[Generation] = []
    drafted: list[Generation] = []
    for prompt, options in prompts:
        model.forget()
        model.generate(prompt.token_ids, replace(options, max_new_tokens=1))
        # drafts first: an output that is remembered is a perfect draft of itself
        for speculate, generations in ((True, drafted), (False, plain)):
            generations += model.generate(prompt.token_ids, replace(options, speculate=speculate))
    return [_timing(False, plain, plain), _timing(True, drafted, plain)]


def _timing(drafts: bool, generations: list[Generation], baseline: list[Generation]) -> DraftTiming:
    tokens = sum(len(generation.token_ids) for generation in generations)
    passes = sum(generation.num_passes for generation in generations)
    seconds = sum(generation.decode_seconds for generation in generations)
    return DraftTiming(
        drafts,
        len(generations),
        tokens,
        passes,
        tokens / max(passes, 1),
        seconds,
        statistics.median(generation.decode_seconds for generation in generations),
        sum(generation.decode_seconds for generation in baseline) / seconds,
        sum(a.text == b.text for a, b in zip(generations, baseline, strict=True)),
    )

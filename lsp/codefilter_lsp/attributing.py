"""Which chunks raised the likelihood of a completion, and by how much.

In: a request, its completion, the candidates. Out: the impact of each, mean nats per token of the
completion's text: with the chunk alone, less without any (CODEFILTER, arXiv 2508.05970, section 3, with the
completion in the place of the truth). It reads one prompt per chunk, so it is done only when somebody asks.
"""

from __future__ import annotations

from collections.abc import Sequence

from codefilter.completion import Completer
from codefilter.likelihood import PromptReader, TargetReader
from codefilter.lm.base import Cancellation, LanguageModel
from codefilter.types import (
    CompletionRequest,
    FilterDecision,
    Polarity,
    Prompt,
    RetrievedChunk,
)


def measure_impacts(
    completer: Completer,
    model: LanguageModel,
    request: CompletionRequest,
    text: str,
    decisions: Sequence[FilterDecision],
    cancellation: Cancellation,
) -> dict[str, float]:
    """Impact by chunk id. For the model's thread only."""
    in_file = completer.cut_in_file(request)

    def prompt_with(chunks: Sequence[RetrievedChunk]) -> Prompt:
        kept = [FilterDecision(chunk, True, Polarity.UNKNOWN, 1.0, "measured") for chunk in chunks]
        return completer.build_prompt(request, in_file, kept)

    reader = TargetReader(PromptReader(model, prompt_with, cancellation), text)
    alone = reader.read_target([]).mean_nats
    return {
        decision.candidate.chunk.chunk_id: reader.read_target([decision.candidate]).mean_nats - alone
        for decision in decisions
    }

"""What a filter must do: judge candidates.

In: a `CompletionRequest` and its candidates. Out: one `FilterDecision` per candidate, in the same order.
A filter declares what it needs besides; a need that is not met is an error, never a silent fallback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from codefilter.prompts.in_file import InFileContext
from codefilter.types import CompletionRequest, FilterDecision, RetrievedChunk


class Need(StrEnum):
    """What a filter may need besides the request and the candidates."""

    READER = "reader"  # a language model that reads context and chunks
    LABELS = "labels"  # true impact labels: evaluation only


@dataclass(frozen=True)
class FilterContext:
    """What the prompt shows of the file, whatever the filter decides."""

    in_file: InFileContext


class ChunkFilter(Protocol):
    """One way to decide which candidates reach the prompt."""

    @property
    def name(self) -> str:
        """As `--filter` takes it."""

    @property
    def needs(self) -> frozenset[Need]:
        """What must be there."""

    @property
    def max_candidates(self) -> int | None:
        """More candidates than these are of no use to the filter; None: as many as the settings say."""

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """One decision per candidate, in the candidates' order."""

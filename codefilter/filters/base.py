"""What a filter must do: judge candidates.

In: a `CompletionRequest` and its candidates. Out: one `FilterDecision` per candidate, in the same order.
A filter declares what it needs besides; a need that is not met is an error, never a silent fallback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar, runtime_checkable

from codefilter.index import RepositoryIndex
from codefilter.lm.base import Cancellation
from codefilter.prompts.in_file import InFileContext
from codefilter.types import Chunk, CompletionRequest, FilterDecision, LogLikelihood, RetrievedChunk

USUAL_CANDIDATES = 10  # of filters that need no more, or take long for each; and of labels
_SHOWN = 10  # decisions, for people


class Need(StrEnum):
    """What a filter may need besides the request and the candidates."""

    READER = "reader"  # a language model that reads context and chunks
    INDEX = "index"  # the repository's index, which is there whenever there are candidates
    TRUTH = "truth"  # how likely the true completion is: evaluation only


class Reader(Protocol):
    """A language model and the prompts of one request: how a filter reads."""

    @property
    def model_name(self) -> str:
        """The model's name, for people."""

    @property
    def model_sha256(self) -> str:
        """The model: hash of its weights."""

    def write_draft(self, num_tokens: int) -> tuple[int, ...]:
        """The first tokens that the model writes when it reads no chunks."""

    def read_draft(self, draft: tuple[int, ...], chunks: Sequence[RetrievedChunk]) -> LogLikelihood:
        """How likely and how certain a draft's tokens are behind a prompt with these chunks."""


class Truth(Protocol):
    """The true completion of one request, which only an evaluation knows."""

    def read_target(self, chunks: Sequence[RetrievedChunk]) -> LogLikelihood:
        """How likely the true completion is behind a prompt with these chunks."""


@dataclass(frozen=True)
class FilterContext:
    """What a filter may know besides the request and the candidates."""

    in_file: InFileContext  # what the prompt shows of the file, whatever the filter decides
    budget_tokens: int  # for all chunks of the prompt
    count_tokens: Callable[[Chunk], int]  # what a chunk takes of the budget, with its header
    reader: Reader | None = None  # there for filters that declare `Need.READER`
    index: RepositoryIndex | None = None  # that the candidates are from
    truth: Truth | None = None  # there for filters that declare `Need.TRUTH`
    cancellation: Cancellation | None = None  # of the request: for filters with a model of their own


class ChunkFilter(Protocol):
    """One way to decide which candidates reach the prompt."""

    @property
    def name(self) -> str:
        """As `--filter` takes it."""

    @property
    def needs(self) -> frozenset[Need]:
        """What must be there."""

    @property
    def usual_candidates(self) -> int:
        """How many candidates it chooses from where the settings do not say."""

    @property
    def max_candidates(self) -> int | None:
        """More candidates than these are of no use to the filter; None: there is no such number."""

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """One decision per candidate, in the candidates' order."""


@runtime_checkable
class TrainedChunkFilter(ChunkFilter, Protocol):
    """A filter with weights of its own."""

    @property
    def weights_sha256(self) -> str:
        """Of its weights."""


def candidates_for(chunk_filter: ChunkFilter, asked: int) -> int:
    """How many candidates a filter chooses from, where so many are asked for; 0: as many as usual."""
    wanted = asked or chunk_filter.usual_candidates
    most = chunk_filter.max_candidates
    return wanted if most is None else min(wanted, most)


class _Decided(Protocol):
    @property
    def keep(self) -> bool:
        """Whether the filter kept it."""


Decided = TypeVar("Decided", bound=_Decided)


def worth_showing(decisions: Sequence[Decided]) -> list[Decided]:
    """What people look at, and impacts are measured of: what is kept, and the first of what is dropped.

    In the order of the candidates; ten in all, or more where more are kept.
    """
    room = _SHOWN - sum(decision.keep for decision in decisions)
    shown = []
    for decision in decisions:
        room -= not decision.keep
        if decision.keep or room >= 0:
            shown.append(decision)
    return shown

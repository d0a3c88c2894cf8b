"""What a retriever must do: turn a query into ranked candidates.

In: a `RetrievalQuery` (the place and the lines around it). Out: at most k `RetrievedChunk`s, best first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from codefilter.types import CompletionRequest, RetrievedChunk


@dataclass(frozen=True)
class RetrievalQuery:
    """The place to complete, and which part of its own file the prompt already shows.

    The file's own text at and after `in_file_start_line` never comes back: a chunk of the same file counts
    only if it ends at or before that line (RepoCoder, section 3.1).
    """

    request: CompletionRequest
    in_file_start_line: int  # 0-based line of the file at which the in-file context of the prompt begins


class Retriever(Protocol):
    """One way to find candidates in a repository's index."""

    @property
    def name(self) -> str:
        """Name in the table of `codefilter.retrieval.table`."""

    def retrieve(self, query: RetrievalQuery, k: int) -> list[RetrievedChunk]:
        """At most `k` candidates, best first, ties in chunk order; empty where nothing matches."""

"""Retrievers by name: add one line to add a retriever."""

from __future__ import annotations

from collections.abc import Callable

from codefilter.errors import UsageError
from codefilter.index import RepositoryIndex
from codefilter.retrieval.base import Retriever
from codefilter.retrieval.bm25 import Bm25Retriever
from codefilter.retrieval.definitions import DefinitionsRetriever
from codefilter.retrieval.hybrid import HybridRetriever
from codefilter.retrieval.jaccard import JaccardRetriever


def _hybrid(index: RepositoryIndex) -> Retriever:
    parts: list[Retriever] = [Bm25Retriever(index), DefinitionsRetriever(index)]
    if index.spec.chunker == "window":  # Jaccard is RepoCoder's measure for windows of equal length
        parts.append(JaccardRetriever(index))
    return HybridRetriever(parts)


def _bm25_reference(index: RepositoryIndex) -> Retriever:
    from codefilter.retrieval.reference import (
        ReferenceBm25Retriever,
    )  # loads rank-bm25 only where it is asked for

    return ReferenceBm25Retriever(index)


RETRIEVERS: dict[str, Callable[[RepositoryIndex], Retriever]] = {
    "hybrid": _hybrid,
    "bm25": Bm25Retriever,
    "bm25-reference": _bm25_reference,
    "jaccard": JaccardRetriever,
    "definitions": DefinitionsRetriever,
}


def get_retriever(name: str, index: RepositoryIndex) -> Retriever:
    """The retriever of that name over an index.

    Raises:
        UsageError: there is none.
    """
    if name not in RETRIEVERS:
        raise UsageError(f"Unknown retriever {name!r}.", hint=f"Choose one of: {', '.join(RETRIEVERS)}.")
    return RETRIEVERS[name](index)

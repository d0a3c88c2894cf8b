"""Features of where a chunk stands: against the place's file, in the ranking; and of its kind.

In: a `PlaceView`, a candidate, its `ChunkView`. Out: `RelationFeatures`, `RetrievalFeatures`,
`ShapeFeatures`.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from rapidfuzz import fuzz

from codefilter.filters.features.views import ChunkView, PlaceView
from codefilter.languages import TEXT
from codefilter.types import RetrievedChunk

_TEST = re.compile(r"(^|[/_.])(tests?|testing|specs?|conftest)([/_.]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class RelationFeatures:
    """How the chunk's file stands to the place's."""

    same_file: float
    distance: float  # lines between the chunk and what the prompt shows of the same file, logarithm; else 0
    same_folder: float
    shared_path: float  # share of the longer path's folders
    file_name: float  # similarity of the file names without suffix
    same_language: float
    imported: float  # 1: the file imports this module; 0.5: perhaps, or what is inside it
    chunk_test: float  # the chunk is from a test
    test_pair: float  # one of the two is the other's test by name
    same_scope: float  # both stand in a class of the same name
    same_symbol: float  # the chunk is (a part of) a definition named like the one around the cursor


@dataclass(frozen=True)
class RetrievalFeatures:
    """What the retriever thinks of it."""

    rank: float  # 0 best, 1 last
    score_share: float  # of the best candidate's score
    score_lead: float  # over the next candidate's, in shares of the best
    score: float  # on the retriever's own scale


@dataclass(frozen=True)
class ShapeFeatures:
    """What kind of chunk it is."""

    lines: float  # logarithm
    characters: float  # logarithm
    comments: float  # share of its lines
    imports: float  # share of its lines
    definitions: float  # how many, logarithm
    member: float  # it stands in a definition
    nothing_defined: float
    file_begins: float  # it is the beginning of its file
    prose: float  # no source of a language with a grammar


def relation_features(place: PlaceView, view: ChunkView) -> RelationFeatures:
    """Compare two places in the repository."""
    own, other = place.request.path, view.chunk.path
    own_folders, other_folders = PurePosixPath(own).parent.parts, PurePosixPath(other).parent.parts
    common = 0
    for first, second in zip(own_folders, other_folders, strict=False):
        if first != second:
            break
        common += 1
    own_name, other_name = PurePosixPath(own).stem, PurePosixPath(other).stem
    scopes = {definition.name for definition in place.enclosing}
    symbol = (view.chunk.symbol or "").rpartition(".")[2]
    return RelationFeatures(
        same_file=float(own == other),
        distance=math.log1p(max(0, place.in_file.start_line - view.chunk.end_line)) if own == other else 0.0,
        same_folder=float(posixpath.dirname(own) == posixpath.dirname(other)),
        shared_path=common / max(1, len(own_folders), len(other_folders)),
        file_name=fuzz.ratio(own_name, other_name) / 100,
        same_language=float(place.request.language == view.chunk.language),
        imported=max((module.nearness(other, place.is_package) / 2 for module in place.modules), default=0.0),
        chunk_test=float(is_test(other)),
        test_pair=float(own_name != other_name and _tested(own_name) == _tested(other_name)),
        same_scope=float((view.chunk.scope or "").rpartition(".")[2] in scopes),
        same_symbol=float(bool(symbol) and symbol in scopes),
    )


def retrieval_features(
    candidate: RetrievedChunk, candidates: Sequence[RetrievedChunk], compared: int
) -> RetrievalFeatures:
    """The candidate among the others of its request; those behind `compared` of them have the last rank."""
    best = max((other.score for other in candidates), default=0.0)
    below = [other.score for other in candidates[:compared] if other.rank == candidate.rank + 1]
    scale = best if best > 0 else 1.0
    return RetrievalFeatures(
        rank=min(1.0, candidate.rank / max(1, compared - 1)),
        score_share=candidate.score / scale,
        score_lead=(candidate.score - below[0]) / scale if below else 0.0,
        score=candidate.score,
    )


def shape_features(view: ChunkView) -> ShapeFeatures:
    """The chunk by itself."""
    return ShapeFeatures(
        lines=math.log1p(len(view.lines)),
        characters=math.log1p(len(view.chunk.text)),
        comments=view.comment_share,
        imports=view.import_share,
        definitions=math.log1p(len(view.defined)),
        member=float(view.chunk.scope is not None),
        nothing_defined=float(view.chunk.symbol is None),
        file_begins=float(not view.chunk.start_line),
        prose=float(view.chunk.language == TEXT),
    )


def is_test(path: str) -> bool:
    """Whether a path looks like a test's."""
    return _TEST.search(path) is not None


def _tested(name: str) -> str:
    return name.removeprefix("test_").removesuffix("_test")

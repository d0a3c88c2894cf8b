"""All features of a request's candidates as one matrix.

In: a request, its in-file context and candidates, an index. Out: `ChunkFeatures`: a row per candidate, a
column per name of `FEATURE_NAMES`, and the evidence that reasons are made of.
Notable: a name is ``group.field`` of the groups' dataclasses, so that a feature is described where it is
declared; weights name the features that they were trained with, and others are refused.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from codefilter.filters.features.copying import CopyEvidence, CopyFeatures, copy_features
from codefilter.filters.features.facts import RepositoryFacts
from codefilter.filters.features.names import NameEvidence, NameFeatures, name_features
from codefilter.filters.features.relations import (
    RelationFeatures,
    RetrievalFeatures,
    ShapeFeatures,
    relation_features,
    retrieval_features,
    shape_features,
)
from codefilter.filters.features.surroundings import PlaceFeatures, place_features
from codefilter.filters.features.views import ChunkView, PlaceView
from codefilter.index import RepositoryIndex
from codefilter.prompts.in_file import InFileContext
from codefilter.retrieval.base import RetrievalQuery
from codefilter.types import Chunk, CompletionRequest, RetrievedChunk

_GROUPS = {
    "names": NameFeatures,
    "copy": CopyFeatures,
    "relation": RelationFeatures,
    "retrieval": RetrievalFeatures,
    "shape": ShapeFeatures,
    "place": PlaceFeatures,
}
FEATURE_NAMES = tuple(f"{group}.{field.name}" for group, kind in _GROUPS.items() for field in fields(kind))
NUM_CHUNK_FEATURES = sum(not name.startswith("place.") for name in FEATURE_NAMES)  # they come first
COMPARED_CANDIDATES = 10
"""A chunk is compared with so many of the first, as for labels: one of thirty is judged like one of ten."""

_CACHED_CHUNKS = 256  # of 20 kB each; who types sees the same few dozen again and again

Matrix = npt.NDArray[np.float32]


def network_inputs(values: Matrix) -> Matrix:
    """What a network reads: the features, and how those of each chunk differ from the first candidates' mean.

    Args:
        values: (candidates, features) of one request, the best of the retriever first.

    Returns:
        (candidates, features + chunk features).
    """
    of_chunks = values[:, :NUM_CHUNK_FEATURES]
    mean = of_chunks[:COMPARED_CANDIDATES].mean(axis=0, keepdims=True)
    return np.concatenate([values, of_chunks - mean], axis=1)


def group_columns(group: str) -> list[int]:
    """The columns of `network_inputs` that belong to a group of features."""
    own = [i for i, name in enumerate(FEATURE_NAMES) if name.startswith(f"{group}.")]
    return own + [len(FEATURE_NAMES) + i for i in own if i < NUM_CHUNK_FEATURES]


@dataclass(frozen=True)
class ChunkFeatures:
    """The features of one request's candidates."""

    values: Matrix  # (candidates, features)
    names: tuple[NameEvidence, ...]
    copies: tuple[CopyEvidence, ...]


class FeatureExtractor:
    """Computes features over one index; what depends on a chunk alone is kept between requests."""

    def __init__(self, index: RepositoryIndex) -> None:
        self._index = index
        self._views: OrderedDict[Chunk, ChunkView] = OrderedDict()  # the last asked for at the end
        self._last_facts: RepositoryFacts | None = None

    def extract(
        self, request: CompletionRequest, in_file: InFileContext, candidates: Sequence[RetrievedChunk]
    ) -> ChunkFeatures:
        """The features of all candidates of a request, the best of the retriever first."""
        facts = self._facts(RetrievalQuery(request, in_file.start_line))
        place = PlaceView(request, in_file, facts)
        compared = min(len(candidates), COMPARED_CANDIDATES)
        shared = vars(place_features(place, compared)).values()
        views = [self._view(candidate.chunk, facts) for candidate in candidates]
        counts = Counter(name for view in views[:compared] for name in view.names)
        rows, names, copies = [], [], []
        for i, (candidate, view) in enumerate(zip(candidates, views, strict=True)):
            itself = int(i < compared)  # is it counted?
            of_names, name_evidence = name_features(place, view, counts, compared, itself)
            of_copies, copy_evidence = copy_features(place, view)
            groups = (
                of_names,
                of_copies,
                relation_features(place, view),
                retrieval_features(candidate, candidates, compared),
                shape_features(view),
            )
            rows.append([*(value for group in groups for value in vars(group).values()), *shared])
            names.append(name_evidence)
            copies.append(copy_evidence)
        values = np.array(rows, np.float32).reshape(len(rows), len(FEATURE_NAMES))
        return ChunkFeatures(values, tuple(names), tuple(copies))

    def _facts(self, query: RetrievalQuery) -> RepositoryFacts:
        facts = RepositoryFacts(self._index, query)
        if self._last_facts is None or not facts.is_as(self._last_facts):
            self._last_facts = facts
        return self._last_facts

    def _view(self, chunk: Chunk, facts: RepositoryFacts) -> ChunkView:
        view = self._views.get(chunk)
        if view is None:
            self._views[chunk] = view = ChunkView(chunk, facts.defined_names(chunk))
            if len(self._views) > _CACHED_CHUNKS:
                self._views.popitem(last=False)
        else:
            self._views.move_to_end(chunk)
        return view

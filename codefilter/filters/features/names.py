"""Features of names: which the place and a chunk share, which the chunk would bring in.

In: a `PlaceView` and a `ChunkView`. Out: `NameFeatures`, and `NameEvidence` for people. "Weight" is a sum of
rarities (`RepositoryFacts.rarity`); shares are of weight, so that `self` and `return` hardly count.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from codefilter.filters.features.views import (
    ChunkView,
    PlaceView,
)

_COUNTED = 3  # names; more of them say no more
_LEAST = 1e-6  # weight that anything is divided by


@dataclass(frozen=True)
class NameFeatures:
    """What a chunk has of the names that matter here."""

    last: float  # share of the names of the last and the current line
    near: float  # share of the names of the last lines
    after: float  # share of the names of the next lines
    header: float  # share of the names in the heads of the definitions around
    of_chunk: float  # share of the chunk's names that stand near, before or after
    rarest_shared: float  # rarity of the rarest name that stands near and in the chunk
    cosine: float  # of the weights of near names, before and after, and the chunk's
    new: float  # share of the chunk's names that the prompt does not show
    new_weight: float  # their weight, logarithm of 1 + x
    hidden: float  # weight of the names that the file has, but the prompt does not show, logarithm
    hidden_often: float  # of those that the file has three times or more, logarithm
    hidden_far: float  # of those just outside what the prompt shows, logarithm
    hidden_share: float  # of the weight of the chunk's new names
    agreed: float  # share of its new names' weight that another candidate has too
    agreed_weight: float  # weight of its new names, each times the share of the other candidates that have it
    missing: float  # weight of the names that the next lines use first
    missing_assigned: float  # how many of those the chunk gives a value, up to 3
    defines_last: float  # how many names of the last and current line it defines, up to 3
    defines_near: float  # of the last lines
    defines_after: float  # of the next lines
    defines_called: float  # of what the last and the next lines call
    defines_member: float  # of what stands behind a dot there
    defines_header: float  # of the heads of the definitions around: base classes, types of parameters
    defines_imported: float  # of what the file imports
    defines_unused: float  # of what it imports and does not use anywhere else
    calls_unused: float  # how many of those it calls without defining them: an example of their use
    calls_imported: float  # how many imported names it calls
    defines_enclosing: float  # it defines what has the name of the definition around the cursor
    finishes: float  # how many of its names, which the prompt does not show, begin with the unfinished word
    defines_finished: float  # how many of those it defines


@dataclass(frozen=True)
class NameEvidence:
    """The names behind the features, the most telling first."""

    shared: tuple[str, ...]
    defined: tuple[str, ...]
    imported: tuple[str, ...]
    called: tuple[str, ...]
    missing: tuple[str, ...]
    finished: tuple[str, ...]


def name_features(
    place: PlaceView, chunk: ChunkView, counts: Counter[str], num_counted: int, itself: int
) -> tuple[NameFeatures, NameEvidence]:
    """Compare the names of a place and a chunk.

    Args:
        place: where text is to be written.
        chunk: a candidate.
        counts: how many of the candidates that are counted have a name.
        num_counted: how many these are.
        itself: 1 where the chunk is one of them, else 0.
    """
    weight, rarity = place.weight, place.facts.rarity
    near, after, around = place.near_names, place.after_names, place.around_names
    shared = around & chunk.names
    new = chunk.names - place.shown_names
    imported, unused = place.imported_names, place.unused_imported_names
    own = place.enclosing_names
    defined = chunk.defined
    called = chunk.called - defined
    missing = place.missing_names & chunk.names
    all_new = weight(new)
    finished = frozenset(name for name in new if place.unfinished and name.startswith(place.unfinished))
    features = NameFeatures(
        last=_share(place, place.last_names & chunk.names, place.last_names),
        near=_share(place, near & chunk.names, near),
        after=_share(place, after & chunk.names, after),
        header=_share(place, place.header_names & chunk.names, place.header_names),
        of_chunk=_share(place, shared, chunk.names),
        rarest_shared=max(map(rarity, shared), default=0.0),
        cosine=_cosine(place, shared, around, chunk.names),
        new=all_new / max(place.facts.weight(chunk.names), _LEAST),
        new_weight=math.log1p(all_new),
        hidden=math.log1p(weight(place.hidden_names & chunk.names)),
        hidden_often=math.log1p(weight(place.often_hidden_names & chunk.names)),
        hidden_far=math.log1p(weight(place.far_names & chunk.names)),
        hidden_share=weight(place.hidden_names & new) / max(all_new, _LEAST),
        agreed=weight(name for name in new if counts[name] > itself) / max(all_new, _LEAST),
        agreed_weight=sum(rarity(name) * (counts[name] - itself) for name in new)
        / max(1, num_counted - itself),
        missing=weight(missing),
        missing_assigned=_count(place.missing_names & (chunk.assigned | defined)),
        defines_last=_count(place.last_names & defined),
        defines_near=_count(near & defined),
        defines_after=_count(after & defined),
        defines_called=_count(place.around_called & defined - own),
        defines_member=_count(place.around_members & defined - own),
        defines_header=_count(place.header_names & defined),
        defines_imported=_count(imported & defined),
        defines_unused=_count(unused & defined),
        calls_unused=_count(unused & called),
        calls_imported=_count(imported & called),
        defines_enclosing=_count(own & defined),
        finishes=_count(finished),
        defines_finished=_count(finished & defined),
    )
    evidence = NameEvidence(
        shared=place.rarest(shared),
        defined=place.rarest(around & defined),
        imported=place.rarest(imported & defined),
        called=place.rarest(unused & called),
        missing=place.rarest(missing),
        finished=place.rarest(finished),
    )
    return features, evidence


def _share(place: PlaceView, part: frozenset[str], whole: frozenset[str]) -> float:
    return place.weight(part) / max(place.facts.weight(whole), _LEAST)


def _count(names: frozenset[str]) -> float:
    return float(min(len(names), _COUNTED))


def _cosine(place: PlaceView, shared: frozenset[str], first: frozenset[str], second: frozenset[str]) -> float:
    def squares(names: frozenset[str]) -> float:
        return sum(place.facts.rarity(name) ** 2 for name in names)

    return squares(shared) / max(math.sqrt(squares(first) * squares(second)), _LEAST)

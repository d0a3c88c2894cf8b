"""How a chunk changes what a model makes of its own draft: what filters that read can know of the truth.

In: a reader, or the likelihoods of a draft without chunks and behind one chunk. Out: `LogLikelihood`s, or
`DraftFeatures`. The draft stands in for the true completion, which nobody knows yet; a chunk that will help
makes the model surer along it, or makes single tokens of it much less likely, because something else is right
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from codefilter.errors import FilterError
from codefilter.filters.base import Reader
from codefilter.filters.features import Matrix
from codefilter.types import LogLikelihood, RetrievedChunk

DRAFT_TOKENS = 15  # of labels, and of whoever reads as they were made

_FIRST_TOKENS = 5
_MUCH_NATS = 1.0


@dataclass(frozen=True)
class DraftFeatures:
    """Nats per token of the draft; a gain is of likelihood, a fall of entropy. Zeros for an empty draft."""

    gain: float = 0.0
    gain_most: float = 0.0
    gain_least: float = 0.0
    gain_spread: float = 0.0
    gain_size: float = 0.0  # mean without signs
    gain_first: float = 0.0  # of the first token
    gain_early: float = 0.0  # of the first five
    lost: float = 0.0  # share of tokens that become less likely by more than a nat
    fall: float = 0.0
    fall_most: float = 0.0
    fall_least: float = 0.0
    fall_spread: float = 0.0
    fall_first: float = 0.0
    entropy: float = 0.0  # that is left


DRAFT_FEATURE_NAMES = tuple(f"draft.{field.name}" for field in fields(DraftFeatures))


def draft_features(alone: LogLikelihood, behind: LogLikelihood) -> DraftFeatures:
    """The features of one chunk.

    Args:
        alone: the draft's likelihood and entropies without chunks.
        behind: the same tokens behind the chunk.
    """
    if not alone.per_token:
        return DraftFeatures()
    gains = np.subtract(behind.per_token, alone.per_token)  # (tokens,)
    falls = np.subtract(alone.entropies, behind.entropies)  # (tokens,)
    return DraftFeatures(
        gain=float(gains.mean()),
        gain_most=float(gains.max()),
        gain_least=float(gains.min()),
        gain_spread=float(gains.std()),
        gain_size=float(np.abs(gains).mean()),
        gain_first=float(gains[0]),
        gain_early=float(gains[:_FIRST_TOKENS].mean()),
        lost=float((gains < -_MUCH_NATS).mean()),
        fall=float(falls.mean()),
        fall_most=float(falls.max()),
        fall_least=float(falls.min()),
        fall_spread=float(falls.std()),
        fall_first=float(falls[0]),
        entropy=float(np.mean(behind.entropies)),
    )


def draft_matrix(features: Sequence[DraftFeatures]) -> Matrix:
    """(chunks, draft features)."""
    rows = [astuple(one) for one in features]
    return np.array(rows, np.float32).reshape(len(rows), len(DRAFT_FEATURE_NAMES))


def read_draft(reader: Reader, draft: tuple[int, ...], chunks: Sequence[RetrievedChunk]) -> LogLikelihood:
    """How likely and how certain a draft is behind chunks.

    Raises:
        FilterError: the engine does not measure entropies.
    """
    reading = reader.read_draft(draft, chunks)
    if draft and not reading.entropies:
        raise FilterError(
            "the engine does not measure how certain the model is", hint="Choose --engine torch."
        )
    return reading

"""Features of copying: does a chunk go on where the file stops, and with something that the file has not?

In: a `PlaceView` and a `ChunkView`. Out: `CopyFeatures`, and `CopyEvidence` for people. Lines are compared
with the nearest lines before and after the cursor (rapidfuzz's normalised indel similarity, 0 to 1).
Notable: a line that resembles the last one says little by itself; what counts is that something follows it in
the chunk, that this is new to the file, and that behind it the chunk meets the file's next line again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rapidfuzz import fuzz
from rapidfuzz.process import cdist

from codefilter.filters.features.views import (
    FAMILIAR_LINES,
    ChunkView,
    PlaceView,
    names_of,
)

Similarities = npt.NDArray[np.float32]

_BEFORE_WEIGHTS = np.array([0.55, 0.3, 0.15], np.float32)  # last line, the one before it, ...
_MAX_GAP = 8  # lines of a chunk that may stand between the place's last and its next line
_LONGEST_RUN = 12  # tokens


@dataclass(frozen=True)
class CopyFeatures:
    """How a chunk could go on where the file stops."""

    aligned: float  # best similarity of lines of the chunk to the last lines, something following
    aligned_new: float  # how new to the file what follows there is
    copy: float  # best product of both
    follows: float  # weight of new names in the line that follows there, up to 3
    same_indent: float  # the line that follows is indented, against the line before, as the next line is
    last: float  # best similarity of any line to the last one
    next: float  # best similarity of any line to the next one
    sandwich: float  # best mean similarity to the last lines and, a few lines on, to the next one
    sandwich_new: float  # how new to the file the lines between are
    run: float  # tokens before the cursor that the chunk has in the same order, up to 12, over 12
    run_new: float  # and what follows them there is a name that the prompt does not show
    typed: float  # share of the typed text that some line of the chunk begins with
    familiar: float  # mean similarity of the chunk's lines to the most similar line of the file
    familiar_most: float  # share of its lines that the file has almost the same


@dataclass(frozen=True)
class CopyEvidence:
    """Where in the chunk the best alignment is."""

    line: str  # the line of the chunk that resembles the last one
    following: str  # what follows it there


def copy_features(place: PlaceView, chunk: ChunkView) -> tuple[CopyFeatures, CopyEvidence]:
    """Align the place with a chunk."""
    lines = chunk.lines
    if not lines:
        return CopyFeatures(*[0.0] * 14), CopyEvidence("", "")
    novelty = 1 - _best_in_file(place, lines)  # (lines,)
    before = list(place.before[: -len(_BEFORE_WEIGHTS) - 1 : -1])  # the nearest first
    to_before = _similarities(lines, before)  # (lines, before)
    to_next = _similarities(lines, place.after[:1])[:, 0] if place.after else np.zeros(len(lines), np.float32)
    aligned = _alignments(to_before)  # (lines,): how well the lines up to each fit the place's last lines
    if place.typed:
        aligned = _shift(_starts(lines, place.typed)) * 0.5 + aligned * 0.5
    can_follow = aligned[:-1]
    best = int(can_follow.argmax()) if len(can_follow) else -1
    following = lines[best + 1] if best >= 0 else ""
    copies = can_follow * novelty[1:] if len(can_follow) else np.zeros(1, np.float32)
    sandwich, sandwich_new = _sandwich(aligned, to_next, novelty)
    run, run_new = _longest_run(place, chunk)
    new_names = names_of(following) - place.shown_names
    features = CopyFeatures(
        aligned=float(can_follow.max(initial=0.0)),
        aligned_new=float(novelty[best + 1]) if best >= 0 else 0.0,
        copy=float(copies.max()),
        follows=min(place.weight(new_names), 3.0),
        same_indent=_same_indent(place, chunk, best),
        last=float(to_before[:, 0].max()) if before else 0.0,
        next=float(to_next.max()),
        sandwich=sandwich,
        sandwich_new=sandwich_new,
        run=run,
        run_new=run_new,
        typed=float(_starts(lines, place.typed).max()) if place.typed else 0.0,
        familiar=float(1 - novelty.mean()),
        familiar_most=float((novelty < 0.1).mean()),
    )
    return features, CopyEvidence(lines[best] if best >= 0 else "", following)


def _similarities(lines: Sequence[str], others: Sequence[str]) -> Similarities:
    """(lines, others), 0 to 1."""
    if not others:
        return np.zeros((len(lines), 0), np.float32)
    return _cdist(lines, others)


def _cdist(lines: Sequence[str], others: Sequence[str], cutoff: float | None = None) -> Similarities:
    """(lines, others), 0 to 1; 0 below the cutoff in percent."""
    percent: Similarities = cdist(lines, others, scorer=fuzz.ratio, score_cutoff=cutoff, dtype=np.float32)
    return percent / np.float32(100)


def _best_in_file(place: PlaceView, lines: Sequence[str]) -> Similarities:
    """Similarity of each line to the most similar one that the prompt shows of the file, (lines,)."""
    shown = [*place.before[-FAMILIAR_LINES:], *place.after[:FAMILIAR_LINES]]
    if not shown:
        return np.zeros(len(lines), np.float32)
    best: Similarities = _cdist(lines, shown, 40).max(axis=1)
    return best


def _alignments(to_before: Similarities) -> Similarities:
    """Weighted similarity of the lines up to each line of a chunk to the place's last lines, (lines,)."""
    total = np.zeros(len(to_before), np.float32)
    for back in range(to_before.shape[1]):
        total[back:] += _BEFORE_WEIGHTS[back] * to_before[: len(to_before) - back, back]
    return total


def _sandwich(aligned: Similarities, to_next: Similarities, novelty: Similarities) -> tuple[float, float]:
    """The best fit on both sides of a gap of one to eight lines, and how new the gap is."""
    best, best_new = 0.0, 0.0
    for gap in range(1, min(_MAX_GAP, len(aligned) - 2) + 1):
        fits = (aligned[: -gap - 1] + to_next[gap + 1 :]) / 2
        at = int(fits.argmax())
        if fits[at] > best:
            best, best_new = float(fits[at]), float(novelty[at + 1 : at + 1 + gap].mean())
    return best, best_new


def _longest_run(place: PlaceView, chunk: ChunkView) -> tuple[float, float]:
    """The longest end of the text before the cursor that stands in the chunk with something behind it."""
    end = place.near_tokens[-_LONGEST_RUN:]
    tokens = chunk.tokens
    longest, new = 0, 0.0
    for position in range(len(tokens) - 1):
        length = 0
        while length < len(end) and position >= length and tokens[position - length] == end[-1 - length]:
            length += 1
        if length and length >= longest:
            following = tokens[position + 1]
            is_new = float(following.isidentifier() and following not in place.shown_names)
            new = is_new if length > longest else max(new, is_new)
            longest = length
    return longest / _LONGEST_RUN, new


def _starts(lines: Sequence[str], typed: str) -> Similarities:
    """Which share of the typed text each line begins with, where more of the line follows."""
    shares = []
    for line in lines:
        length = 0
        while length < min(len(typed), len(line) - 1) and typed[length] == line[length]:
            length += 1
        shares.append(length / len(typed))
    return np.array(shares, np.float32)


def _shift(values: Similarities) -> Similarities:
    """What a line says of the one before it."""
    return np.append(values[1:], np.float32(0))


def _same_indent(place: PlaceView, chunk: ChunkView, best: int) -> float:
    """Whether the line behind the aligned one steps in or out as the place's next line does."""
    if best < 0 or place.next_step is None:
        return 0.0
    return float(chunk.indents[best + 1] - chunk.indents[best] == place.next_step)

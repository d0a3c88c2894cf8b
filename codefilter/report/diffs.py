"""A completion against the truth, word by word.

In: two texts. Out: spans of the completion and the truth woven into one, each the same in both, only written
(extra), or only true (missing).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

_ALIKE = 0.6  # texts less alike are shown one after the other: woven together they are hard to read
_WORD = re.compile(r"\w+|\s|[^\w\s]")


class SpanKind(StrEnum):
    """Where a span stands."""

    SAME = "same"
    EXTRA = "extra"  # the model wrote it, the truth has it not
    MISSING = "missing"  # the truth has it, the model did not write it


@dataclass(frozen=True)
class Span:
    """A piece of text."""

    kind: SpanKind
    text: str


def diff(prediction: str, truth: str) -> list[Span]:
    """Spans in order; without the missing ones they are the prediction, without the extra ones the truth."""
    written, true = _WORD.findall(prediction), _WORD.findall(truth)
    matcher = SequenceMatcher(None, written, true, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return [*_span(SpanKind.EXTRA, written), *_span(SpanKind.MISSING, true)]
    spans: list[Span] = []
    for _, start, end, true_start, true_end in matcher.get_opcodes():
        if written[start:end] == true[true_start:true_end]:
            spans += _span(SpanKind.SAME, written[start:end])
        else:
            spans += _span(SpanKind.EXTRA, written[start:end])
            spans += _span(SpanKind.MISSING, true[true_start:true_end])
    return spans


def _span(kind: SpanKind, words: Sequence[str]) -> list[Span]:
    return [Span(kind, "".join(words))] if words else []

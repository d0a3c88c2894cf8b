"""Features of the place alone: how much of the file is shown, and what kind of code comes next.

In: a `PlaceView`. Out: `PlaceFeatures`. They are the same for all candidates of a request: alone they tell
where any chunk may help, and with the features of a chunk which.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from rapidfuzz import fuzz
from rapidfuzz.process import cdist

from codefilter.filters.features.relations import is_test
from codefilter.filters.features.views import FAMILIAR_LINES, PlaceView, indent_of

_BRACKETS = {")": "(", "]": "[", "}": "{"}
_OPENERS = "([{"
_DEFINES = re.compile(r"^\s*(async def|def|class|function|func|fn|public|private|protected|static)\b")
_DEPTH_LINES = 15  # brackets that opened earlier are no matter of the next line


@dataclass(frozen=True)
class PlaceFeatures:
    """What kind of place it is."""

    shown_before: float  # characters before the cursor that the prompt shows, logarithm
    shown_after: float
    cut_before: float  # the prompt does not show the file's beginning
    lines_before: float  # of the file, logarithm
    typed: float  # characters of the current line, logarithm
    after_return: float  # the line typed begins with return, raise, yield
    depth: float  # open brackets, up to 3
    opens: float  # the last line opens a block
    continues: float  # the last line ends within an expression
    blank_before: float  # a blank line stands before the current one
    body_begins: float  # the last line is the head of a definition
    indent: float  # of the last line, in steps of four columns
    in_class: float
    test: float  # the file is a test
    last_familiar: float  # similarity of the last line to the most similar line before it
    next_familiar: float  # of the next line to the most similar line before
    imports: float  # imported names, logarithm
    unused_imports: float  # logarithm
    missing: float  # weight of names that the next lines use first, logarithm
    last_rarity: float  # of the rarest name of the last and the current line
    candidates: float  # how many


def place_features(place: PlaceView, num_candidates: int) -> PlaceFeatures:
    """Look at the place alone."""
    in_file, last = place.in_file, place.last_line
    raw_last = next((line for line in reversed(in_file.prefix.split("\n")) if line.strip()), "")
    return PlaceFeatures(
        shown_before=math.log1p(len(in_file.prefix) + len(in_file.typed)),
        shown_after=math.log1p(len(in_file.suffix)),
        cut_before=float(in_file.start_line > 0),
        lines_before=math.log1p(place.request.prefix.count("\n")),
        typed=math.log1p(len(place.typed)),
        after_return=float(place.typed.startswith(("return", "raise", "yield"))),
        depth=float(min(_open_brackets(place), 3)),
        opens=float(last.endswith((":", "{"))),
        continues=float(last.endswith((",", "(", "[", "=", "\\", "+", "|", "&", "."))),
        blank_before=float(in_file.prefix.endswith("\n\n")),
        body_begins=float(bool(_DEFINES.match(last))),
        indent=indent_of(raw_last) / 4,
        in_class=float(any(definition.kind == "class" for definition in place.enclosing)),
        test=float(is_test(place.request.path)),
        last_familiar=_familiarity(last, list(place.before[-FAMILIAR_LINES:-1])),
        next_familiar=_familiarity(place.after[0], list(place.before[-FAMILIAR_LINES:]))
        if place.after
        else 0.0,
        imports=math.log1p(len(place.imported)),
        unused_imports=math.log1p(len(place.unused_imports)),
        missing=math.log1p(place.weight(place.missing_names)),
        last_rarity=max(map(place.facts.rarity, place.last_names), default=0.0),
        candidates=float(num_candidates),
    )


def _familiarity(line: str, others: list[str]) -> float:
    if not others or not line:
        return 0.0
    return float(cdist([line], others, scorer=fuzz.ratio).max()) / 100


def _open_brackets(place: PlaceView) -> int:
    """How many brackets of the last lines are still open at the cursor."""
    opened: list[str] = []
    for character in "\n".join([*place.before[-_DEPTH_LINES:], place.typed]):
        if character in _OPENERS:
            opened.append(character)
        elif opened and opened[-1] == _BRACKETS.get(character):
            opened.pop()
    return len(opened)

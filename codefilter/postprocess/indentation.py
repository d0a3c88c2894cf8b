"""Indentation as the file has it: its tabs or spaces, its step, and where the block at the cursor belongs.

In: a `Place` and the model's text. Out: the text with other white space at the beginning of its lines.
Lines that begin inside a string stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd

from codefilter.languages import TEXT
from codefilter.postprocess.extent import opened_indentation
from codefilter.postprocess.place import CLOSERS, Place, indentation_of, width

_DEFAULT_STEP = 4
_GOES_ON = tuple("([{,\\+-*/%=|&.?:<>")  # a line that ends so is continued by the next, which may be anywhere


@dataclass(frozen=True)
class Style:
    """How a file is indented."""

    tabs: bool
    step: int  # columns of one level

    def render(self, columns: int) -> str:
        """White space of a width."""
        if not self.tabs:
            return " " * columns
        return "\t" * (columns // self.step) + " " * (columns % self.step)


def style_of(place: Place, text: str) -> Style:
    """The style that most lines around the cursor have; where they say nothing, that of the text."""
    around = [line for line in (place.before + place.after).split("\n") if line.strip()]
    written = [line for line in text.split("\n") if line.strip()]
    with_tabs, with_spaces = _indented(around)
    if with_tabs == with_spaces == 0:
        with_tabs, with_spaces = (1, 0) if place.language == "go" else _indented(written)
    if with_tabs > with_spaces:
        return Style(True, _DEFAULT_STEP)
    if text.startswith("\n"):
        written.insert(0, place.typed)
    for lines in (around, [*place.lines_above[:1], place.typed], written):
        widths = [width(indentation_of(line)) for line in lines]
        steps = Counter(b - a for a, b in pairwise(widths) if 2 <= b - a <= 8)
        if steps:
            return Style(False, steps.most_common(1)[0][0])
    return Style(False, _DEFAULT_STEP)


def _indented(lines: Sequence[str]) -> tuple[int, int]:
    """How many lines begin with a tab, and with spaces."""
    return sum(line.startswith("\t") for line in lines), sum(line.startswith("  ") for line in lines)


def repair_indentation(place: Place, text: str) -> str:
    """Tabs or spaces of the file; the first line where its block is; the others where they are beside it.

    In plain text, a Makefile for instance, a tab that the model writes may be syntax, and stays.
    """
    if place.typed.strip() and place.typed[-1].isspace():
        text = text.lstrip(" \t")
    lines = text.split("\n")
    style = style_of(place, text)
    movable = [i for i in _lines_outside_strings(place, text) if lines[i].strip() and (i or _is_blank(place))]
    if place.language == TEXT:
        movable = [i for i in movable if not lines[i].startswith("\t")]
    if not movable:
        return text
    before = {
        i: width((place.typed if i == 0 else "") + indentation_of(lines[i]), style.step) for i in movable
    }
    in_block = opened_indentation(place) if not "".join(lines[: movable[0]]).strip() else None
    after = _moved(place, lines, before, style, in_block)
    for i in movable:
        new = style.render(after[i])
        if i == 0:
            if not new.startswith(place.typed):
                new = place.typed  # what is typed stays
            new = new[len(place.typed) :]
        lines[i] = new + lines[i].lstrip(" \t")
    return "\n".join(lines)


def _is_blank(place: Place) -> bool:
    return not place.typed.strip()


def _moved(
    place: Place, lines: Sequence[str], columns: dict[int, int], style: Style, opened: str | None
) -> dict[int, int]:
    """Columns at which the lines should begin, by line number; `opened`: indentation around their block."""
    first, *others = columns
    if opened is None:
        wanted, inner = _bounded_columns(place, first, columns[first], style), style.step
    else:
        wanted = width(opened, style.step) + style.step
        if first == 0 and width(place.typed, style.step) > width(opened, style.step):
            wanted = width(place.typed, style.step)
        inner = _inner_step(columns, width(opened, style.step), style)
    if inner != style.step:
        start = columns[first]
        return {i: wanted + (c - start) * style.step // inner for i, c in columns.items()}
    shift = wanted - columns[first]
    together = not others or _belong_to_first(lines, columns, wanted)
    return {i: c + shift if i == first or together else c for i, c in columns.items()}


def _belong_to_first(lines: Sequence[str], columns: dict[int, int], wanted: int) -> bool:
    """Whether the lines below a first line that stands wrong are wrong by as much, and move with it."""
    first, *others = columns
    least = min(columns[i] for i in others)
    if wanted <= columns[first]:
        return least >= columns[first]
    opens = lines[first].rstrip().endswith(_GOES_ON)
    closing = [columns[i] for i in others if lines[i].lstrip()[0] in CLOSERS]
    return least < wanted or (least == wanted and opens and wanted not in closing)


def _bounded_columns(place: Place, number: int, columns: int, style: Style) -> int:
    """Columns of the first line; no block opens here, so not deeper than the line above and what is typed."""
    if number or not place.typed or not place.lines_above or place.lines_above[0].endswith(_GOES_ON):
        return columns
    above = width(indentation_of(place.lines_above[0]), style.step)
    return min(columns, max(above, width(place.typed, style.step)))


def _inner_step(columns: dict[int, int], opened: int, style: Style) -> int:
    """Columns of one level in the text, where it shows that its steps are other than the file's."""
    start = next(iter(columns.values()))
    deeper = [c - start for c in columns.values()]
    step = gcd(*deeper)
    is_regular = min(deeper) >= 0 and step >= 2 and start - opened == step
    return step if is_regular else style.step


def _lines_outside_strings(place: Place, text: str) -> list[int]:
    """Numbers of the lines that do not begin inside a string or comment."""
    strings = [token for token in place.tokens(text) if token.kind in ("string", "comment")]
    numbers, start = [], 0
    for number, line in enumerate(text.split("\n")):
        if not any(token.start < start < token.end for token in strings):
            numbers.append(number)
        start += len(line) + 1
    return numbers

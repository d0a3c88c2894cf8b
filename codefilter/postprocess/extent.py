"""What to ask for at a place: the rest of one line, or a block, and without which brackets.

In: a `Place`, a request. Out: an `Extent`, a request. People accept a single line where they are within one,
and welcome several where a block has just been opened: after ``def f():`` or ``{``, also below its docstring
or comment.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache

from codefilter.postprocess.place import CLOSERS, OPENERS, Place, Token, indentation_of, width
from codefilter.types import CompletionRequest

_HEADER_CHARACTERS = 2_000  # enough for a long signature and its docstring
_CLOSING = re.compile(r"[)\]};,\s]*")
_CLOSED = re.compile(r"[)\]]+(?=[^\S\n]*(\n|\Z))")


class Extent(StrEnum):
    """What to ask the model for."""

    WITHIN_LINE = "within line"  # something stands behind the cursor: nothing but the rest of this line
    LINE = "line"
    BLOCK = "block"


def extent_of(place: Place) -> Extent:
    """What fits at the cursor."""
    if _CLOSING.fullmatch(place.rest) and opened_indentation(place) is not None:
        return Extent.BLOCK
    return Extent.WITHIN_LINE if place.rest.strip() else Extent.LINE


def without_closed(request: CompletionRequest) -> CompletionRequest:
    """A request as if the brackets were not there that stand alone behind the cursor.

    Editors put them there, and they come and go while somebody types: everything behind them would be read
    again. What a model writes without them is better, too, as it writes the line to its end (`LOG.md`);
    `cut_overlap` takes off what is then twice. Quotes stay: without them it is worse.
    """
    closed = _CLOSED.match(request.suffix)
    return replace(request, suffix=request.suffix[closed.end() :]) if closed else request


@lru_cache(maxsize=4)  # several rules ask about one place
def opened_indentation(place: Place) -> str | None:
    """Indentation of the statement whose block is open and empty at the cursor; None where there is none."""
    tokens = [token for token in place.tokens("", _HEADER_CHARACTERS) if token.kind != "comment"]
    if place.language == "python":
        if len(tokens) > 1 and tokens[-1].kind == "string" and not place.typed.strip():
            tokens.pop()  # a docstring
        start = _compound_statement(place, tokens)
    else:
        start = tokens[-1].start if tokens and tokens[-1].text == "{" and tokens[-1].kind == "mark" else None
    if start is None:
        return None
    indentation = indentation_of(place.before[place.line_start(start) :])
    if place.lines_below and width(indentation_of(place.lines_below[0])) > width(indentation):
        return None  # the block has its content below
    return indentation


def _compound_statement(place: Place, tokens: list[Token]) -> int | None:
    """Where the statement begins whose colon is the last token: outside brackets, behind a keyword."""
    if not tokens or tokens[-1].text != ":":
        return None
    depth = 0
    for token in reversed(tokens[:-1]):
        if token.kind == "mark" and token.text in CLOSERS:
            depth += 1
        elif token.kind == "mark" and token.text in OPENERS:
            depth -= 1
        if depth < 0:
            return None  # a slice, a dictionary, a lambda among arguments
        line = place.before[place.line_start(token.start) : len(place.before) + token.start]
        if depth == 0 and not line.strip():
            return token.start if token.kind == "mark" and token.text.isalpha() else None
    return None

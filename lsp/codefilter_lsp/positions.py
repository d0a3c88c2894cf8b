r"""The protocol boundary: positions of the protocol ↔ offsets into a Python string.

In: a document's text, `Position`s in the units that were negotiated (UTF-8, UTF-16 or UTF-32 code units).
Out: offsets in code points, edited texts, positions. Nothing else in the project knows about code units.

Notable: pygls has a codec of its own, but it splits lines at form feeds and at U+2028 too, which the protocol
does not (3.17, "Position"), so that one such character shifts every later edit; and it takes a column beyond
the end of the last line for the one before it. Here lines end at ``\n``, ``\r\n`` and ``\r`` only, a column
beyond the end is the end of the line, and a column inside a character is the place before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lsprotocol.types import (
    Position,
    PositionEncodingKind,
    TextDocumentContentChangeEvent,
    TextDocumentContentChangePartial,
)

_LINE_END = re.compile(r"\r\n|\n|\r")


def _utf8_units(character: str) -> int:
    code = ord(character)
    return 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4


def _utf16_units(character: str) -> int:
    return 1 if ord(character) < 0x10000 else 2


_UNITS: dict[str, Callable[[str], int]] = {
    PositionEncodingKind.Utf8: _utf8_units,
    PositionEncodingKind.Utf16: _utf16_units,
    PositionEncodingKind.Utf32: lambda character: 1,
}


def offset_at(text: str, position: Position, encoding: str) -> int:
    """Offset in code points of a position; what lies beyond a line or the text is its end."""
    start = 0
    for _ in range(position.line):
        line_end = _LINE_END.search(text, start)
        if line_end is None:
            return len(text)
        start = line_end.end()
    line_end = _LINE_END.search(text, start)
    line = text[start : line_end.start() if line_end else len(text)]
    if line.isascii():
        return start + min(position.character, len(line))
    units_of, units = _UNITS[encoding], 0
    for column, character in enumerate(line):
        units += units_of(character)
        if units > position.character:
            return start + column
    return start + len(line)


def changed_span(text: str, change: TextDocumentContentChangeEvent, encoding: str) -> tuple[int, int]:
    """Which [start, end) of a text one change of ``textDocument/didChange`` replaces, in code points."""
    if not isinstance(change, TextDocumentContentChangePartial):
        return 0, len(text)
    start = offset_at(text, change.range.start, encoding)
    return start, max(start, offset_at(text, change.range.end, encoding))


def position_at(text: str, offset: int, encoding: str) -> Position:
    r"""Position of an offset in code points, which must not lie inside ``\r\n``."""
    line, start = 0, 0
    for line_end in _LINE_END.finditer(text, 0, offset):
        line, start = line + 1, line_end.end()
    return Position(line, sum(map(_UNITS[encoding], text[start:offset])))


def from_utf16_length(text: str, units: int) -> int:
    """How many characters at the beginning of a text take so many UTF-16 code units."""
    for length, character in enumerate(text):
        units -= _utf16_units(character)
        if units < 0:
            return length
    return len(text)


def with_plain_line_ends(text: str) -> str:
    r"""The text with ``\n`` only, as everything inside the boundary wants it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")

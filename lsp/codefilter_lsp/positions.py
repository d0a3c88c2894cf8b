r"""The protocol boundary: positions of the protocol ↔ offsets into a Python string.

In: a document's text, `Position`s in the units that were negotiated (UTF-8, UTF-16 or UTF-32 code units).
Out: offsets in code points, edited texts, positions. Nothing else in the project knows about code units.

Notable: pygls has a codec of its own, but it splits lines at form feeds and at U+2028 too, which the protocol
does not (3.17, "Position"), so that one such character shifts every later edit; and it takes a column beyond
the end of the last line for the one before it. Here lines end at ``\n``, ``\r\n`` and ``\r`` only, a column
beyond the end is the end of the line, and a column inside a character is the place before it. And it goes
through the whole text for every change, of which "replace all" sends thousands at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO

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


class Lines:
    """A text that changes, line by line.

    A change costs its own lines and what lies between it and the one before it: many of them, bottom to top
    or top to bottom, take about as long as reading the text once.
    """

    def __init__(self, text: str, encoding: str) -> None:
        self._encoding = encoding
        self._lines = _split(text)
        self._starts = [0]  # offsets of the first lines, as many as are known

    @property
    def text(self) -> str:
        """The text as it is now."""
        return "".join(self._lines)

    def place(self, position: Position) -> tuple[int, int]:
        """Line and offset of a position; what lies beyond a line or the text is its end."""
        line = min(position.line, len(self._lines))
        for known in self._lines[len(self._starts) - 1 : line]:
            self._starts.append(self._starts[-1] + len(known))
        column = _column("".join(self._lines[line : line + 1]), position.character, self._encoding)
        return line, self._starts[line] + column

    def change(self, change: TextDocumentContentChangeEvent) -> tuple[int, str]:
        """Apply a change of ``textDocument/didChange``; the offset where it begins, and what it replaces."""
        if not isinstance(change, TextDocumentContentChangePartial):
            replaced = self.text
            self._lines, self._starts = _split(change.text), [0]
            return 0, replaced
        first, start = self.place(change.range.start)
        last, end = max((first, start), self.place(change.range.end))
        first = max(0, first - 1)  # a "\n" may come to stand behind the "\r" of the line above
        before = self._starts[first]
        old = "".join(self._lines[first : last + 1])
        new = old[: start - before] + change.text + old[end - before :]
        self._lines[first : last + 1] = _split(new)
        del self._starts[first + 1 :]
        return start, old[start - before : end - before]


def _split(text: str) -> list[str]:
    """Lines with their ends."""
    return list(StringIO(text, newline=""))  # which splits at the protocol's line ends and at no other


def _column(line: str, character: int, encoding: str) -> int:
    """Column in code points of one in code units."""
    line = line.rstrip("\r\n")
    if line.isascii():
        return min(character, len(line))
    units_of, units = _UNITS[encoding], 0
    for column, one in enumerate(line):
        units += units_of(one)
        if units > character:
            return column
    return len(line)


def offset_at(text: str, position: Position, encoding: str) -> int:
    """Offset in code points of a position; what lies beyond a line or the text is its end."""
    return Lines(text, encoding).place(position)[1]


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

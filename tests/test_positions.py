"""The editor's code units against a reference that works on encoded bytes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol.types import (
    Position,
    Range,
    TextDocumentContentChangeEvent,
    TextDocumentContentChangePartial,
    TextDocumentContentChangeWholeDocument,
    TextDocumentItem,
)

from codefilter_lsp.documents import Documents
from codefilter_lsp.positions import offset_at, position_at, with_plain_line_ends

CODECS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}  # bytes of a unit
ENCODINGS = list(CODECS)
# line ends of the protocol, characters that only Python takes for line ends, and 1 to 4 bytes in UTF-8
TEXTS = st.text(st.sampled_from("ab\n\r\t\f\v\x1c\x85\u2028\u2029é€😀\ud83d")) | st.text()
CHARACTERS = st.integers(0, 12)


def reference_offset(text: str, line: int, character: int, encoding: str) -> int:
    """Cut the encoded line after `character` units and count the characters that are whole."""
    codec, unit_bytes = CODECS[encoding]
    lines = re.split("(\r\n|\n|\r)", text)  # text, end, text, end, ..., text
    if 2 * line >= len(lines):
        return len(text)
    encoded = lines[2 * line].encode(codec)[: character * unit_bytes]
    return len("".join(lines[: 2 * line])) + len(encoded.decode(codec, "ignore"))


@given(TEXTS.filter(lambda text: not re.search("[\ud800-\udfff]", text)), CHARACTERS, CHARACTERS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_offset_equals_the_reference(encoding: str, text: str, line: int, character: int) -> None:
    assert offset_at(text, Position(line, character), encoding) == reference_offset(
        text, line, character, encoding
    )


@given(TEXTS, st.integers(0, 50))
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_offsets_survive_the_way_to_the_editor_and_back(encoding: str, text: str, offset: int) -> None:
    offset = min(offset, len(text))
    if text[offset - 1 : offset + 1] == "\r\n":
        offset += 1  # no position lies between the two
    position = position_at(text, offset, encoding)
    assert offset_at(text, position, encoding) == offset


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 4 + 2 + 1), ("utf-16", 2 + 1 + 1), ("utf-32", 3)])
def test_hand_counted_columns(encoding: str, column: int) -> None:
    assert offset_at("x\n😀éa!", Position(1, column), encoding) == 5
    assert position_at("x\n😀éa!", 5, encoding) == Position(1, column)


def test_a_column_inside_a_character_is_the_place_before_it() -> None:
    assert offset_at("a😀b", Position(0, 2), "utf-16") == 1
    assert [offset_at("é€", Position(0, column), "utf-8") for column in range(6)] == [0, 0, 1, 1, 1, 2]


def test_what_lies_beyond_is_the_end() -> None:
    assert offset_at("ab\ncd", Position(0, 99), "utf-16") == 2
    assert offset_at("ab\r\ncd", Position(0, 99), "utf-16") == 2
    assert offset_at("ab\ncd", Position(1, 99), "utf-16") == 5
    assert offset_at("ab\ncd", Position(9, 0), "utf-16") == 5
    assert offset_at("ab\n", Position(1, 0), "utf-16") == 3
    assert offset_at("", Position(0, 0), "utf-16") == 0


def test_only_the_protocols_line_ends_end_a_line() -> None:
    text = "a\fb\u2028c\x85d\ne"
    assert offset_at(text, Position(1, 0), "utf-16") == text.index("e")


def changed_text(text: str, change: TextDocumentContentChangeEvent, encoding: str) -> str:
    documents = Documents()
    documents.open(TextDocumentItem("file:///a.py", "python", 1, text))
    changed = documents.change("file:///a.py", [change], encoding)
    assert changed is not None
    return changed[0].text


@given(TEXTS, TEXTS, CHARACTERS, CHARACTERS, CHARACTERS, CHARACTERS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_change_replaces_exactly_its_range(
    encoding: str, text: str, new: str, line: int, character: int, lines: int, characters: int
) -> None:
    start, end = Position(line, character), Position(line + lines, characters)
    changed = changed_text(text, TextDocumentContentChangePartial(Range(start, end), new), encoding)
    first, last = offset_at(text, start, encoding), offset_at(text, end, encoding)
    assert changed == text[:first] + new + text[max(first, last) :]


def test_changes_with_emoji_and_carriage_returns() -> None:
    change = TextDocumentContentChangePartial(Range(Position(1, 7), Position(1, 8)), "B")
    assert changed_text('x = 1\r\ny = "😀"b\r\n', change, "utf-16") == 'x = 1\r\ny = "😀Bb\r\n'
    assert changed_text("old", TextDocumentContentChangeWholeDocument("new"), "utf-16") == "new"


def test_plain_line_ends() -> None:
    assert with_plain_line_ends("a\r\nb\rc\n\r\n") == "a\nb\nc\n\n"

"""Texts of documents after any edits equal those of a reference that works on encoded bytes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol.types import (
    Position,
    Range,
    TextDocumentContentChangeEvent,
    TextDocumentContentChangePartial,
    TextDocumentContentChangeWholeDocument,
    TextDocumentItem,
)

from codefilter_lsp.documents import Documents, Edit
from tests.test_positions import ENCODINGS, reference_offset

URI = "file:///a.py"
EDITS_PER_DOCUMENT = 50
DOCUMENTS = 200  # for each of them so many edits: ten thousand

# Letters, line ends of all kinds, tabs, emoji (two UTF-16 units), a flag and a family of several code points,
# combining marks, and what Python takes for a line end but the protocol does not.
PIECES = [
    "a",
    "b",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "é",
    "e\u0301",
    "😀",
    "🇪🇺",
    "👩‍👩‍👧",
    "漢",
    "\u2028",
    "\f",
    "\x85",
    "\x1c",
]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
positions = st.tuples(st.integers(0, 8), st.integers(0, 14))
changes = st.tuples(positions, positions, texts)


def reference_edit(text: str, start: tuple[int, int], end: tuple[int, int], new: str, encoding: str) -> str:
    """What the protocol says of one edit, by cutting encoded lines."""
    ends = [reference_offset(text, *place, encoding) for place in (start, end)]
    return text[: ends[0]] + new + text[max(ends) :]


@settings(max_examples=DOCUMENTS)
@given(
    text=texts,
    edits=st.lists(changes, min_size=EDITS_PER_DOCUMENT, max_size=EDITS_PER_DOCUMENT),
    encoding=st.sampled_from(ENCODINGS),
)
def test_edits(text: str, edits: list[tuple[tuple[int, int], tuple[int, int], str]], encoding: str) -> None:
    documents = Documents()
    documents.open(TextDocumentItem(URI, "python", 1, text))
    for start, end, new in edits:
        start, end = sorted((start, end))
        text = reference_edit(text, start, end, new, encoding)
        change = TextDocumentContentChangePartial(Range(Position(*start), Position(*end)), new)
        changed = documents.change(URI, [change], encoding)
        assert changed is not None
        assert changed[0].text == text


def test_an_edit_begins_where_the_texts_differ() -> None:
    documents = Documents()
    documents.open(TextDocumentItem(URI, "python", 1, "x = comp\n"))
    word = Range(Position(0, 4), Position(0, 8))  # as an item of the completion menu replaces it
    changed = documents.change(URI, [TextDocumentContentChangePartial(word, "compute_width(box)")], "utf-16")
    assert changed is not None
    assert changed[0].text == "x = compute_width(box)\n"
    assert changed[1] == [Edit(8, 8, 14)]


@given(
    text=texts,
    edits=st.lists(st.one_of(changes, texts), min_size=1, max_size=8),
    order=st.sampled_from(["any", "bottom to top", "top to bottom"]),
    encoding=st.sampled_from(ENCODINGS),
)
def test_several_edits_in_one_notification(
    text: str,
    edits: list[tuple[tuple[int, int], tuple[int, int], str] | str],
    order: str,
    encoding: str,
) -> None:
    if order != "any":
        edits = [edit for edit in edits if not isinstance(edit, str)]
        edits.sort(key=lambda edit: min(edit[:2]), reverse=order == "bottom to top")
    documents = Documents()
    documents.open(TextDocumentItem(URI, "python", 1, text))
    sent: list[TextDocumentContentChangeEvent] = []
    expected: list[Edit] = []
    for edit in edits:
        if isinstance(edit, str):
            first, last, new, whole = 0, len(text), edit, edit
            sent.append(TextDocumentContentChangeWholeDocument(new))
        else:
            start, end = sorted(edit[:2])
            new = edit[2]
            first, last = (reference_offset(text, *place, encoding) for place in (start, end))
            whole = reference_edit(text, start, end, new, encoding)
            sent.append(TextDocumentContentChangePartial(Range(Position(*start), Position(*end)), new))
        old = text[first : max(first, last)]
        same = max(n for n in range(min(len(old), len(new)) + 1) if old[:n] == new[:n])
        expected.append(Edit(first + same, last, len(new) - same))
        text = whole
    changed = documents.change(URI, sent, encoding)
    assert changed is not None
    assert changed[0].text == text
    assert changed[1] == expected


@pytest.mark.parametrize("bottom_to_top", [True, False])
def test_replacing_everywhere_takes_no_longer_than_reading_the_text(bottom_to_top: bool) -> None:
    """Eight thousand changes of one notification, as VS Code sends them; one by one they took 25 seconds."""
    lines = range(8_000)
    documents = Documents()
    documents.open(TextDocumentItem(URI, "python", 1, "width = compute_width(box)  # 漢😀\n" * len(lines)))
    sent = [
        TextDocumentContentChangePartial(Range(Position(line, 8), Position(line, 21)), "measure")
        for line in (reversed(lines) if bottom_to_top else lines)
    ]
    started = time.process_time()
    changed = documents.change(URI, sent, "utf-16")
    assert time.process_time() - started < 2.0
    assert changed is not None
    assert changed[0].text == "width = measure(box)  # 漢😀\n" * len(lines)

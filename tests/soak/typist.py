"""Somebody who types in several documents, as far as the documents go: texts, places, edits.

In: source files. Out: edits in the protocol's form, and the texts that the server must have by now.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOISE = (
    "a",
    "x = ",
    "\n",
    "\n    ",
    "\t",
    "😀",
    "e\u0301",
    "漢字",
    "()",
    "# ",
    "👩\u200d👩\u200d👧",
    '"',
    "\r\n",
)
TYPED_LINES = 5


@dataclass
class TypedDocument:
    """One open document."""

    path: Path
    language: str
    text: str
    version: int = 1

    @property
    def uri(self) -> str:
        return self.path.as_uri()

    def opened(self) -> dict[str, Any]:
        """Parameters of ``didOpen``."""
        item = {"uri": self.uri, "languageId": self.language, "version": self.version, "text": self.text}
        return {"textDocument": item}

    def position(self, offset: int) -> dict[str, int]:
        """A place in the protocol's form: UTF-16."""
        before = self.text[:offset]
        line_start = before.rfind("\n") + 1
        units = len(before[line_start:].encode("utf-16-le")) // 2
        return {"line": before.count("\n"), "character": units}

    def replace(self, start: int, end: int, new: str) -> dict[str, Any]:
        """Replace a part, and return the parameters of ``didChange`` for it."""
        change = {"range": {"start": self.position(start), "end": self.position(end)}, "text": new}
        self.text = self.text[:start] + new + self.text[end:]
        return self._changed(change)

    def replace_all(self, text: str) -> dict[str, Any]:
        """Replace everything."""
        self.text = text
        return self._changed({"text": text})

    def _changed(self, change: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        return {"textDocument": {"uri": self.uri, "version": self.version}, "contentChanges": [change]}


def passages(text: str, generator: random.Random) -> Iterator[tuple[int, int]]:
    """Runs of lines that are worth typing again, in a random order: where they begin and end."""
    starts = [0, *(number + 1 for number, character in enumerate(text) if character == "\n")]
    numbers = list(range(len(starts) - TYPED_LINES))
    generator.shuffle(numbers)
    for number in numbers:
        start, end = starts[number], without_broken_line_ends(text, starts[number + TYPED_LINES] - 1)
        if len(text[start:end].strip()) > 80:
            indent = len(text[start:end]) - len(text[start:end].lstrip(" \t"))
            yield start + indent, end


def without_broken_line_ends(text: str, offset: int) -> int:
    """The offset, or the one before it where a line end would be cut in two."""
    return offset - 1 if text[offset - 1 : offset + 1] == "\r\n" else offset

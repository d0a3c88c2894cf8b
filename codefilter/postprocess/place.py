"""The place of a completion: the code around the cursor, and what its grammar says of a text put there.

In: a `CompletionRequest` and candidate texts. Out: tokens and numbers of syntax errors.

Notable: code that is being written is broken most of the time. So nothing here asks whether a text parses,
but which of several texts leaves the fewest errors; without a grammar, the fewest loose brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import tree_sitter

from codefilter.languages import SyntaxTree, count_errors, parse
from codefilter.types import CompletionRequest

_WINDOW_BEFORE = 16_000  # characters: parsed several times for one completion
_WINDOW_AFTER = 8_000
OPENERS, CLOSERS = "([{", ")]}"
_OPENER_OF = dict(zip(CLOSERS, OPENERS, strict=True))
_STRING = re.compile(r"(.*_)?(string(_literal|_expression)?|(char|character|rune)_literal|regex)")


class Token(NamedTuple):
    """A leaf of the syntax tree; a whole string or comment counts as one."""

    text: str
    start: int  # offsets into the text that was put at the cursor, in code points
    end: int
    kind: str  # "string", "comment", "word" (what the grammar has no fixed spelling for) or "mark"


@dataclass(frozen=True)
class Place:
    """What stands around the cursor, cut to what is worth parsing, at line starts or in endless lines."""

    before: str
    after: str
    language: str

    @classmethod
    def of(cls, request: CompletionRequest) -> Place:
        """The place of a request."""
        before, after = request.prefix, request.suffix
        if len(before) > _WINDOW_BEFORE:
            start = len(before) - _WINDOW_BEFORE
            before = before[before.find("\n", start) + 1 or start :]
        if len(after) > _WINDOW_AFTER:
            after = after[: after.rfind("\n", 0, _WINDOW_AFTER) + 1 or _WINDOW_AFTER]
        return cls(before, after, request.language)

    @cached_property
    def typed(self) -> str:
        """What stands in the current line before the cursor."""
        return self.before[self.before.rfind("\n") + 1 :]

    @cached_property
    def rest(self) -> str:
        """What stands in the current line after the cursor."""
        return self.after.partition("\n")[0]

    @cached_property
    def lines_above(self) -> list[str]:
        """The lines before the current one that hold something, nearest first."""
        lines = self.before.split("\n")[:-1]
        return [line.rstrip() for line in reversed(lines) if line.strip()]

    @cached_property
    def lines_below(self) -> list[str]:
        """The lines after the current one that hold something."""
        return [line.rstrip() for line in self.after.split("\n")[1:] if line.strip()]

    def line_start(self, offset: int) -> int:
        """Position in `before` of the line that holds an offset from the cursor, which is not positive."""
        return self.before.rfind("\n", 0, len(self.before) + offset) + 1

    def errors(self, text: str) -> int:
        """Number of syntax errors with a text at the cursor."""
        tree = parse(self.before + text + self.after, self.language)
        return count_errors(tree) if tree is not None else loose_brackets(self.typed + text + self.rest)

    def best_of(self, texts: Sequence[str]) -> str:
        """The text that leaves the fewest errors, the first of equals."""
        return min(texts, key=self.errors) if len(set(texts)) > 1 else texts[0]

    def tokens(self, text: str, back: int = 0) -> list[Token]:
        """Tokens of a text at the cursor, and of so many characters before it, as far as they begin there.

        What follows the cursor is not looked at: a bracket there may belong to one that the text does not
        close. A string that begins before counts from the start of the text, with a negative offset.
        """
        source = self.before + text
        tree = parse(source, self.language)
        if tree is None:
            return _plain_tokens(source, len(self.before), back)
        first = max(0, len(self.before) - back)
        start = len(source[:first].encode("utf-8", "replace"))
        shift = len(self.before)
        positions = _Positions(source, tree.source)
        return [
            Token(tree.text(node), positions[node.start_byte] - shift, positions[node.end_byte] - shift, kind)
            for node, kind in _leaves(tree, start)
            if node.end_byte > start
        ]


class _Positions:
    """Byte offsets → code points; most source is ASCII, where they are the same."""

    def __init__(self, text: str, source: bytes) -> None:
        self._source = None if len(text) == len(source) else source

    def __getitem__(self, offset: int) -> int:
        return offset if self._source is None else len(self._source[:offset].decode("utf-8", "replace"))


def _leaves(tree: SyntaxTree, start: int) -> Iterator[tuple[tree_sitter.Node, str]]:
    """Leaves that end behind a byte offset, in order."""
    stack = [tree.root]
    while stack:
        node = stack.pop()
        if node.end_byte <= start or node.is_missing:
            continue
        if "comment" in node.type:
            yield node, "comment"
        elif node.is_named and _STRING.fullmatch(node.type):
            yield node, "string"
        elif node.child_count:
            stack += reversed(node.children)
        elif node.start_byte < node.end_byte:
            yield node, "word" if node.is_named else "mark"


def _plain_tokens(source: str, cursor: int, back: int) -> list[Token]:
    """Brackets alone, for text without a grammar."""
    return [
        Token(source[i], i - cursor, i - cursor + 1, "mark")
        for i in range(max(0, cursor - back), len(source))
        if source[i] in OPENERS + CLOSERS
    ]


def unmatched_closers(tokens: Sequence[Token]) -> list[Token]:
    """Closing brackets whose opening ones do not stand among the tokens."""
    opened: list[str] = []
    loose = []
    for token in tokens:
        if token.kind != "mark" or token.start < 0:
            continue
        if token.text and token.text[-1] in OPENERS:  # "${" and "#{" too
            opened.append(token.text[-1])
        elif token.text in _OPENER_OF:
            if _OPENER_OF[token.text] in opened:
                while opened.pop() != _OPENER_OF[token.text]:
                    pass
            else:
                loose.append(token)
    return loose


def loose_brackets(text: str) -> int:
    """Number of brackets without a partner."""
    opened: list[str] = []
    loose = 0
    for character in text:
        if character in OPENERS:
            opened.append(character)
        elif character in CLOSERS:
            if opened and opened[-1] == _OPENER_OF[character]:
                opened.pop()
            else:
                loose += 1
    return loose + len(opened)


def indentation_of(text: str) -> str:
    """White space that a line begins with."""
    return text[: len(text) - len(text.lstrip(" \t"))]


def width(indentation: str, tab: int = 4) -> int:
    """Columns that white space takes."""
    return len(indentation.expandtabs(tab))

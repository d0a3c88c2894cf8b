"""Text → syntax tree, and the queries over it.

In: a text and the name of its language. Out: a `SyntaxTree` whose rows are the text's lines; only a line feed
ends a line, here and everywhere.
Notable: on text that is no source at all, error recovery can take seconds per kilobyte (``->->->…`` in
JavaScript), so a parse has a budget of processor time; what exceeds it counts as not parsed.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import version
from importlib.resources import files
from typing import NamedTuple

import tree_sitter

from codefilter.languages.table import LANGUAGES, Language, get_language

_READ_BYTES = 1 << 16
_BUDGET_SECONDS = 0.25
_BUDGET_SECONDS_PER_BYTE = 2e-6  # ten times what source needs
# One step of the recovery cannot be interrupted and may need memory with the square of the text (10 GB for
# 50 kB of "a<a<a<…" in Java), so the beginning of a long text is tried first, then four times as much, and
# so on: what passes one probe by a fast processor fails the next. Source takes an eighth of this.
_PROBE_BYTES = (1 << 12, 1 << 14, 1 << 16)
_PROBE_SECONDS_PER_BYTE = 8e-6
_MAX_LOOSE_TOKENS = 5_000  # brackets and commas without structure, for which queries take quadratic time

_FOLDER = files("codefilter.languages")
# What a grammar raises that is missing, or does not fit:
_NOT_LOADED = (ImportError, AttributeError, TypeError, ValueError)

Captures = dict[str, list[tree_sitter.Node]]


class Match(NamedTuple):
    """One place where a pattern of a query file fits."""

    pattern: int  # position of the pattern in the query
    settings: dict[str, str | None]  # its #set! lines
    captures: Captures


@dataclass(frozen=True)
class SyntaxTree:
    """A parsed text. Columns and offsets of nodes count bytes of `source`, rows are lines of the text."""

    language: Language
    source: bytes
    root: tree_sitter.Node

    def matches(self, group: str, start_line: int = 0, end_line: int | None = None) -> Iterator[Match]:
        """Where the patterns of a group ("definition", "import" or "identifier") fit."""
        query, settings = _query(self.language, group)
        cursor = tree_sitter.QueryCursor(query)
        if end_line is not None:
            cursor.set_point_range((start_line, 0), (end_line, 0))
        for pattern, captures in cursor.matches(self.root):
            yield Match(pattern, settings[pattern], captures)

    def text(self, node: tree_sitter.Node) -> str:
        """Source text of a node."""
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")


@lru_cache(maxsize=4)  # who asks for definitions mostly asks for imports and identifiers of the same text too
def parse(text: str, language: str) -> SyntaxTree | None:
    """Syntax tree of a text; None without a grammar that loads, and where the parse exceeds its budget.

    Any text parses: tree-sitter recovers from errors. Lone surrogates and NULs are replaced beforehand, which
    changes no line.
    """
    row = get_language(language)
    if row is None or not _loads(row):
        return None
    source = text.encode("utf-8", "replace").replace(b"\0", b" ")
    for size in _PROBE_BYTES:
        if len(source) > 2 * size and _parse(source[:size], row, _PROBE_SECONDS_PER_BYTE * size) is None:
            return None
    root = _parse(source, row, _BUDGET_SECONDS + _BUDGET_SECONDS_PER_BYTE * len(source))
    if root is None or (root.is_error and root.child_count - root.named_child_count > _MAX_LOOSE_TOKENS):
        return None
    return SyntaxTree(row, source, root)


def _parse(source: bytes, language: Language, budget_seconds: float) -> tree_sitter.Node | None:
    parser = tree_sitter.Parser(_grammar(language))
    deadline = time.thread_time() + budget_seconds
    pieces: list[bytes] = []

    def read(offset: int, _: object) -> bytes:
        pieces.append(bytes(memoryview(source)[offset : offset + _READ_BYTES]))
        return pieces[-1]

    try:
        tree = parser.parse(read, progress_callback=lambda _offset, _has_error: time.thread_time() > deadline)
    except ValueError:  # how the binding reports that the callback stopped the parse
        return None
    finally:
        _release(pieces)
    return tree.root_node if time.thread_time() <= deadline else None


def _release(pieces: list[bytes]) -> None:
    """Free what the binding was given: tree-sitter 0.26.1 forgets to, a whole text per parse.

    A piece that nobody but this function knows is as it should be, and is left alone.
    """
    while pieces:
        piece = pieces.pop()
        if len(piece) > 1 and sys.getrefcount(piece) > 2:  # the name and the argument; short ones are shared
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(piece))


def has_syntax_error(text: str, language: str) -> bool:
    """Whether the text breaks its language's grammar somewhere; False without a grammar that loads."""
    row = get_language(language)
    if row is None or not _loads(row):
        return False
    tree = parse(text, language)
    return tree is None or tree.root.has_error


def count_errors(tree: SyntaxTree, *, with_missing_tokens: bool = True) -> int:
    """Number of ERROR nodes, and of tokens that the parser had to insert."""
    count = 0
    stack = [tree.root]
    while stack:
        node = stack.pop()
        if node.has_error:
            stack += node.children
            count += node.is_error or (with_missing_tokens and node.is_missing)
    return count


def identifiers(text: str, language: str, start_line: int = 0, end_line: int | None = None) -> list[str]:
    """Names used in lines [start_line, end_line), in order of appearance, repetitions included.

    Names of variables, functions, types, attributes and namespaces; no keywords, nothing from comments and
    strings. Empty for "text".
    """
    tree = parse(text, language)
    if tree is None:
        return []
    matches = tree.matches("identifier", start_line, end_line)
    found = {node.start_byte: node for match in matches for node in match.captures["identifier"]}
    return [
        tree.text(node)
        for _, node in sorted(found.items())
        if start_line <= node.start_point.row and (end_line is None or node.start_point.row < end_line)
    ]


def parsing_versions() -> dict[str, str | None]:
    """What decides how texts are parsed: versions of tree-sitter and the grammars, the queries by their hash.

    None is a grammar that does not load.
    """
    found: dict[str, str | None] = {"tree-sitter": version("tree-sitter")}
    for language in LANGUAGES:
        try:
            _grammar(language)
            found[language.name] = version(language.grammar.partition(":")[0])
        except _NOT_LOADED:
            found[language.name] = None
    queries = sorted({name for language in LANGUAGES for name in language.queries})
    digest = hashlib.sha256(b"\0".join((_FOLDER / name).read_bytes() for name in queries))
    return found | {"queries": digest.hexdigest()}


@cache
def _loads(language: Language) -> bool:
    """Whether a language's grammar is installed and fits tree-sitter and our queries."""
    try:
        _query(language, "definition")
    except _NOT_LOADED:
        return False
    return True


@cache
def _grammar(language: Language) -> tree_sitter.Language:
    module, function = language.grammar.split(":")
    return tree_sitter.Language(getattr(import_module(module), function)())


@cache
def _query(language: Language, group: str) -> tuple[tree_sitter.Query, list[dict[str, str | None]]]:
    """A language's query with only the patterns of one group, and each pattern's settings."""
    source = b"\n".join((_FOLDER / name).read_bytes() for name in language.queries)
    query = tree_sitter.Query(_grammar(language), source.decode())
    for pattern in range(query.pattern_count):
        start, end = query.start_byte_for_pattern(pattern), query.end_byte_for_pattern(pattern)
        if group != _group(source[start:end]):
            query.disable_pattern(pattern)
    return query, [query.pattern_settings(pattern) for pattern in range(query.pattern_count)]


def _group(pattern: bytes) -> str:
    if b"@identifier" in pattern:
        return "identifier"
    return "import" if b"@import." in pattern else "definition"

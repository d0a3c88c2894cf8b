"""Text → what it defines, and where.

In: a text and its language. Out: a `Definition` per class, function, type, module-level variable, field, ...
Notable: a definition's lines include the decorators, attributes and comment lines directly above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter

from codefilter.languages.syntax import SyntaxTree, parse

_CLASS_LIKE = frozenset({"class", "struct", "interface", "enum"})


@dataclass(frozen=True)
class Definition:
    """A named piece of source."""

    name: str  # "send"
    qualified_name: str  # "Client.send": with what encloses it, joined by dots in every language
    kind: str  # class, struct, interface, enum, function, method, type, variable, field, macro
    start_line: int  # first line of what stands above it and belongs to it: decorators, comments
    name_line: int  # where its name stands
    end_line: int  # half-open
    scope: str | None  # "Client"; None at the top level


@dataclass
class _Span:
    """A definition, or a scope that is none (impl block, namespace), on the way to its qualified name."""

    name: str  # may hold its owner: "Client::send"
    kind: str
    node: tree_sitter.Node
    name_line: int
    pattern: int
    is_scope: bool
    qualified_name: str = ""


def definitions(
    text: str, language: str, start_line: int = 0, end_line: int | None = None
) -> list[Definition]:
    """All definitions of a text, in order of appearance, an enclosing one before what it encloses.

    With lines [start_line, end_line): those that have a part there, found faster; what stands above them
    and belongs to them is left out where it lies outside. Empty for "text". In a text with syntax errors:
    those that the parser recovered.
    """
    tree = parse(text, language)
    if tree is None:
        return []
    spans, leading_lines = _collect(tree, start_line, end_line)
    leading_lines.difference_update(span.name_line for span in spans)
    return list(_qualify(spans, leading_lines))


def _collect(tree: SyntaxTree, start_line: int, end_line: int | None) -> tuple[list[_Span], set[int]]:
    """Definitions and scopes by position, and the lines that belong to the definition below them."""
    spans: dict[int, _Span] = {}  # by the place of the name: two patterns may fit the same definition
    leading_lines: set[int] = set()
    for pattern, _, captures in tree.matches("definition", start_line, end_line):
        if nodes := captures.get("leading"):
            if _begins_its_line(tree, nodes[0]):
                leading_lines.update(range(nodes[0].start_point.row, _end_line(nodes[-1])))
            continue
        name = captures["name"][0]
        if not name.end_byte > name.start_byte:  # a name that the parser made up to recover from an error
            continue
        known = spans.get(name.start_byte)
        if known is None or pattern < known.pattern:
            label = next(key for key in captures if key.startswith(("definition.", "scope.")))
            role, kind = label.split(".")
            words = [tree.text(node) for node in (*captures.get("owner", ()), name)]
            spans[name.start_byte] = _Span(
                "::".join(" ".join(word.split()) for word in words),
                kind,
                captures[label][0],
                name.start_point.row,
                pattern,
                role == "scope",
            )
    ordered = sorted(spans.values(), key=lambda span: (span.node.start_byte, -span.node.end_byte))
    return ordered, leading_lines


def _qualify(spans: list[_Span], leading_lines: set[int]) -> Iterator[Definition]:
    enclosing: list[_Span] = []
    for span in spans:
        while enclosing and not _encloses(enclosing[-1].node, span.node):
            enclosing.pop()
        outer = enclosing[-1] if enclosing else None
        owner, name = _owner_and_name(span.name)
        scope = ".".join(part for part in (outer.qualified_name if outer else "", owner) if part) or None
        span.qualified_name = f"{scope}.{name}" if scope else name
        enclosing.append(span)
        if span.is_scope:
            continue
        is_method = span.kind == "function" and (owner or (outer and outer.kind in _CLASS_LIKE))
        start_line = span.node.start_point.row
        while start_line - 1 in leading_lines:
            start_line -= 1
        yield Definition(
            name=name,
            qualified_name=span.qualified_name,
            kind="method" if is_method else span.kind,
            start_line=start_line,
            name_line=span.name_line,
            end_line=_end_line(span.node),
            scope=scope,
        )


def _owner_and_name(name: str) -> tuple[str, str]:
    """``ns::Queue<int>::push`` → ``("ns.Queue", "push")``."""
    owner, _, last = name.rpartition("::")
    kept, depth = [], 0
    for character in owner:
        depth += (character == "<") - (character == ">")
        if depth == 0 and character != ">":
            kept.append(character)
    return "".join(kept).replace("::", "."), last


def _encloses(outer: tree_sitter.Node, inner: tree_sitter.Node) -> bool:
    return outer.end_byte >= inner.end_byte and outer.byte_range != inner.byte_range


def _begins_its_line(tree: SyntaxTree, node: tree_sitter.Node) -> bool:
    return not tree.source[node.start_byte - node.start_point.column : node.start_byte].strip()


def _end_line(node: tree_sitter.Node) -> int:
    """Line after a node's last one (a node that ends with a line break ends on the line before)."""
    row, column = node.end_point
    return row if column == 0 and row > node.start_point.row else row + 1

"""Text → the names that it brings in from elsewhere.

In: a text and its language. Out: an `ImportedName` per name. The query files tell what binds which name:
``#set! bind`` the "first" or "last" part of the module, or "all" of its names, where there is no symbol;
``#set! symbol`` a symbol that the text does not spell out; ``#set! outer`` the type of the enclosing nodes
whose paths stand before the module's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import tree_sitter

from codefilter.languages.syntax import Match, SyntaxTree, parse

ALL = "*"
_SEPARATOR = re.compile(r"::|[./]")
_GO_VERSION = re.compile(r"(?:/v|\.v)\d+$")


@dataclass(frozen=True)
class ImportedName:
    """One name of an import statement."""

    name: str  # as the file uses it; "*" where everything comes in (import *, #include, using)
    original: str | None  # the symbol of the module that it stands for; None: the module itself
    module: str  # as written: "a.b", "..pkg", "./client", "std::io", "stdio.h"


@lru_cache(maxsize=4)  # the retriever and the filter ask for those of the same text
def imports(text: str, language: str) -> tuple[ImportedName, ...]:
    """Names that a text imports, in order of appearance; empty for "text".

    Python: ``import a.b`` binds "a" (module "a.b"), ``import a.b as c`` binds "c", ``from .p import x as y``
    binds "y" (original "x", module ".p").
    """
    tree = parse(text, language)
    if tree is None:
        return ()
    found = [_imported_name(tree, match) for match in tree.matches("import")]
    return tuple(imported for _, imported in sorted(found, key=lambda pair: pair[0]) if imported.name)


def _imported_name(tree: SyntaxTree, match: Match) -> tuple[int, ImportedName]:
    """Place of the name in the text, and the import."""
    captured = {label: nodes[0] for label, nodes in match.captures.items()}
    words = {label: " ".join(tree.text(node).split()).strip("<>") for label, node in captured.items()}
    leaf = max(captured.values(), key=lambda node: node.start_byte)
    alias = words.get("import.alias")
    original = words.get("import.symbol") or match.settings.get("symbol")
    outer = match.settings.get("outer")
    prefix = _outer_paths(tree, leaf, outer) if outer else []
    module = "::".join([*prefix, *filter(None, [words.get("import.module")])])
    if not module and original and outer:  # Rust: use a as b
        module, original = original, None
    bind = match.settings.get("bind")
    if bind == "all":
        name = ALL
    elif bind and not alias:
        parts = _SEPARATOR.split(_GO_VERSION.sub("", module))
        name = parts[0 if bind == "first" else -1]
    else:
        name = alias or original or ""
    return leaf.start_byte, ImportedName(name, original, module)


def _outer_paths(tree: SyntaxTree, leaf: tree_sitter.Node, node_type: str) -> list[str]:
    """Paths of the lists that enclose a leaf of a Rust use tree, outermost first."""
    paths: list[str] = []
    node = leaf.parent
    while node is not None:
        path = node.child_by_field_name("path") if node.type == node_type else None
        if path is not None:
            paths.insert(0, tree.text(path))
        node = node.parent
    return paths

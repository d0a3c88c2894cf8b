"""Which names of other files a file can call: what makes a line depend on the repository.

In: the files of a repository, one of them. Out: names as that file writes them. Python and JavaScript import
every name. Elsewhere an import leads to files, all of whose names come in (C's ``#include``, C#'s ``using``,
a Java import with a star) or some; and in Java, Go and C# the files of one folder see each other without any.
Notable: a name that the file defines itself is its own.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from codefilter.languages import definitions, family, imports
from codefilter.languages.imports import ALL
from codefilter.retrieval.modules import ModuleReference, Nearness, module_reference
from codefilter.types import SourceFile

_IMPORTS_BY_NAME = frozenset({"python", "javascript"})  # families of languages
_FOLDER_IS_PACKAGE = frozenset({"java", "go", "csharp"})
_GO_MODULE = re.compile(r"^module\s+(\S+)", re.MULTILINE)
_RUST_LIBRARY = frozenset({"std", "core", "alloc"})
_CALLS = dict.fromkeys(_IMPORTS_BY_NAME, r"\b[\w.\[\]]*\(")
_OTHER_CALLS = r"\b[\w.:<>\[\]!]*\("  # name::new(, name<T>(, name!(


@dataclass(frozen=True)
class _Names:
    """What a file defines."""

    outer: frozenset[str]  # outside all types
    all: frozenset[str]

    @classmethod
    def of(cls, source: SourceFile) -> Self:
        found = definitions(source.text, source.language)
        types = {definition.qualified_name for definition in found}
        outer = (d.name for d in found if d.kind not in ("method", "field") and d.scope not in types)
        return cls(frozenset(outer), frozenset(definition.name for definition in found))


class Reach:
    """The files of one repository, and which of their names the others can call."""

    def __init__(self, sources: Sequence[SourceFile]) -> None:
        self._sources = sources
        self._reached: dict[ModuleReference, frozenset[str]] = {}

    def names(self, source: SourceFile) -> set[str]:
        """Names that a file of the repository has from the others."""
        if family(source.language) in _IMPORTS_BY_NAME:
            return self._imported_names(source)
        return self._visible_names(source)

    @cached_property
    def _defining_paths(self) -> dict[str, set[str]]:
        """Files that define a name at their top level."""
        paths: dict[str, set[str]] = defaultdict(set)
        for source in self._sources:
            for definition in definitions(source.text, source.language):
                if definition.scope is None:
                    paths[definition.name].add(source.path)
        return paths

    @cached_property
    def _top_level_names(self) -> set[str]:
        """First parts of absolute module names that may mean this repository, in ``src/`` too."""
        paths = {source.path for source in self._sources}
        names = set()
        for path in paths:
            first, *rest = path.split("/")
            names.add(first.removesuffix(".py"))
            if rest and f"{first}/__init__.py" not in paths:  # a folder of packages, not one itself
                names.add(rest[0].removesuffix(".py"))
        return names

    def _imported_names(self, source: SourceFile) -> set[str]:
        names = set()
        for imported in imports(source.text, source.language):
            module = imported.module.replace("::", ".").replace("/", ".")
            ours = module.startswith(".") or module.split(".")[0] in self._top_level_names
            defined_in = self._defining_paths.get(imported.original or "", set())
            if ours and (imported.original is None or defined_in - {source.path}):
                names.add(imported.name)
        return names

    @cached_property
    def _files(self) -> dict[str, dict[str, _Names]]:
        """Family of languages → path → the names of the file there."""
        files: dict[str, dict[str, _Names]] = defaultdict(dict)
        for source in self._sources:
            files[family(source.language)][source.path] = _Names.of(source)
        return files

    @cached_property
    def _go_modules(self) -> tuple[str, ...]:
        """What the repository's own Go packages are called before their folders."""
        found = (_GO_MODULE.search(s.text) for s in self._sources if posixpath.basename(s.path) == "go.mod")
        return tuple(match[1] for match in found if match)

    def _visible_names(self, source: SourceFile) -> set[str]:
        path, language = source.path, source.language
        files = self._files[family(language)]

        def behind(module: str) -> list[_Names]:
            reference = module_reference(module, path, language)
            return [files[other] for other in self._reach(reference, files) if other != path]

        visible: set[str] = set()
        for imported in imports(source.text, language):
            module, original = imported.module, imported.original
            if not self._may_be_ours(module, language):
                continue
            there = behind(module)
            if imported.name == ALL:
                visible.update(*(names.outer for names in there))
            elif original is None:
                visible.update([imported.name] if there else [])
            elif any(original in names.all for names in there) or (
                language == "rust" and behind(f"{module}::{original}")  # a module itself
            ):
                visible.add(imported.name)
        if language in _FOLDER_IS_PACKAGE:
            folder = posixpath.dirname(path)
            here = (names.outer for other, names in files.items() if posixpath.dirname(other) == folder)
            visible.update(*here)
        return visible - files[path].outer

    def _may_be_ours(self, module: str, language: str) -> bool:
        """Whether a module may be of this repository, by its name.

        A Go package of the standard library has no dot in its first part.
        """
        if language == "go":
            own = any(f"{module}/".startswith(f"{name}/") for name in self._go_modules)
            return own or (not self._go_modules and "." in module.split("/")[0])
        return language != "rust" or module.split("::")[0] not in _RUST_LIBRARY

    def _reach(self, reference: ModuleReference | None, paths: Iterable[str]) -> frozenset[str]:
        """The files that a module may be."""
        if reference is None:
            return frozenset()
        if reference not in self._reached:
            self._reached[reference] = frozenset(
                path for path in paths if reference.nearness(path, _is_no_package) is not Nearness.NONE
            )
        return self._reached[reference]


def calls(line: str, names: Iterable[str], language: str) -> bool:
    """Whether a line calls one of the names, or something of it."""
    pattern = _CALLS.get(family(language), _OTHER_CALLS)
    return any(re.search(rf"\b{re.escape(name)}{pattern}", line) for name in names)


def _is_no_package(folder: str) -> bool:
    """Only Python has packages that are told apart from folders."""
    return False

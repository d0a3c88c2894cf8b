"""Which names of other files a file can call: what makes a line depend on the repository.

In: the files of a repository, one of them. Out: names as that file writes them. Every language has its own
way to see other files, and its own class here: Python and JavaScript import names; Java and C# declare
packages; Go's packages are folders; Rust has modules; C and C++ include files.
Notable: what may be read wrongly without a compiler (a module of another project, a method) is left out; a
name that the file defines itself is its own.
"""

from __future__ import annotations

import posixpath
import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from codefilter.languages import definitions, family, imports
from codefilter.languages.imports import ALL
from codefilter.types import SourceFile

_TYPES = frozenset({"class", "struct", "interface", "enum", "type"})
_DECLARED_PACKAGE = {
    "java": re.compile(r"^\s*package\s+([\w.]+)\s*;", re.MULTILINE),
    "csharp": re.compile(r"^\s*namespace\s+([\w.]+)", re.MULTILINE),
}
_GO_MODULE = re.compile(r"^module\s+(\S+)", re.MULTILINE)
_CRATE = re.compile(r'^\s*name\s*=\s*"([\w-]+)"', re.MULTILINE)
_RUST_MODULE = re.compile(r"^[ \t]*(?:pub(?:\([^)]*\))?[ \t]+)?mod[ \t]+(\w+)[ \t]*;", re.MULTILINE)
_THIS_CRATE = frozenset({"crate", "self", "super"})

_BY_NAME = (r"\b", r"\b[\w.\[\]]*\(")
_CALLS = {  # what may stand before a name, and what may stand between it and its arguments
    "python": _BY_NAME,
    "javascript": _BY_NAME,
    "cpp": (r"(?<![\w.])(?<!->)(?<!std::)", r"\b[\w.:<>\[\]]*\("),
}
_OTHER_CALLS = (
    r"(?:(?<![\w.:])|(?<=crate::))",
    r"\b[\w.:<>\[\]!]*\(",
)  # name.of(, name::new(, name<T>(, name!(


def calls(line: str, names: Iterable[str], language: str) -> bool:
    """Whether a line calls one of the names, or something of it."""
    before, behind = _CALLS.get(family(language), _OTHER_CALLS)
    return any(re.search(f"{before}{re.escape(name)}{behind}", line) for name in names)


class Reach:
    """The files of one repository, and which of their names the others can call."""

    def __init__(self, sources: Sequence[SourceFile]) -> None:
        self._sources = sources
        self._rules: dict[str, _Rule] = {}

    def names(self, source: SourceFile) -> set[str]:
        """Names that a file of the repository has from the others."""
        key = family(source.language)
        if key not in _RULES:
            return set()
        if key not in self._rules:
            self._rules[key] = _RULES[key](self._sources, key)
        return self._rules[key].names(source)


class _Rule(ABC):
    """How the files of a language see each other."""

    @abstractmethod
    def names(self, source: SourceFile) -> set[str]:
        """Names that a file has from the others."""


class _ImportedNames(_Rule):
    """Python and JavaScript: every name is imported, by the path of its module."""

    def __init__(self, sources: Sequence[SourceFile], key: str) -> None:
        self._sources = sources

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

    def names(self, source: SourceFile) -> set[str]:
        names = set()
        for imported in imports(source.text, source.language):
            module = imported.module.replace("::", ".").replace("/", ".")
            ours = module.startswith(".") or module.split(".")[0] in self._top_level_names
            defined_in = self._defining_paths.get(imported.original or "", set())
            if ours and (imported.original is None or defined_in - {source.path}):
                names.add(imported.name)
        return names


@dataclass(frozen=True)
class _Names:
    """What a file defines."""

    outer: frozenset[str]  # outside all types
    own: frozenset[str]  # these, and types at any depth: they hide other files' names
    all: frozenset[str]

    @classmethod
    def of(cls, source: SourceFile) -> Self:
        found = definitions(source.text, source.language)
        types = {d.qualified_name for d in found}
        outer = {d.name for d in found if d.kind not in ("method", "field") and d.scope not in types}
        own = outer | {d.name for d in found if d.kind in _TYPES}
        return cls(frozenset(outer), frozenset(own), frozenset(d.name for d in found))


class _VisibleNames(_Rule):
    """Languages in which whole files, or folders of them, are seen."""

    def __init__(self, sources: Sequence[SourceFile], key: str) -> None:
        self._sources = sources
        self._own = [source for source in sources if family(source.language) == key]
        self._names = {source.path: _Names.of(source) for source in self._own}
        self._by_folder = _grouped((posixpath.dirname(path), path) for path in self._names)

    def names(self, source: SourceFile) -> set[str]:
        return self._visible(source) - self._names[source.path].own

    @abstractmethod
    def _visible(self, source: SourceFile) -> set[str]:
        """Names that a file can write, its own perhaps among them."""

    def _outer(self, paths: Iterable[str]) -> set[str]:
        return {name for path in paths for name in self._names[path].outer}

    def _texts_of(self, name: str) -> Iterable[tuple[str, str]]:
        """Folders and texts of all files of that name, of any language."""
        for source in self._sources:
            folder, file_name = posixpath.split(source.path)
            if file_name == name:
                yield folder, source.text


class _Packages(_VisibleNames):
    """Java and C#: files say which package or namespace they are of, and see that without an import."""

    def __init__(self, sources: Sequence[SourceFile], key: str) -> None:
        super().__init__(sources, key)
        declared = _DECLARED_PACKAGE[key]
        self._of_file = {source.path: declared.findall(source.text) for source in self._own}
        self._files = _grouped((name, path) for path, names in self._of_file.items() for name in names)
        self._sees_outer_packages = key == "csharp"

    def _visible(self, source: SourceFile) -> set[str]:
        visible = {name for package in self._of_file[source.path] for name in self._inside(package)}
        for imported in imports(source.text, source.language):
            module, original = imported.module, imported.original
            files = self._files.get(module, ())
            types = self._files_of_type(module)
            if imported.name == ALL:
                visible |= self._outer(files)
                visible.update(*(self._names[path].all for path in types))  # static
            elif original is None:  # C#: another name for a type
                visible.update([imported.name] if types else [])
            elif original in self._outer(files) or any(original in self._names[path].all for path in types):
                visible.add(imported.name)
        return visible

    def _inside(self, package: str) -> set[str]:
        names = self._outer(self._files[package])
        while self._sees_outer_packages and "." in package:
            package = package.rpartition(".")[0]
            names |= self._outer(self._files.get(package, ()))
        return names

    def _files_of_type(self, qualified_name: str) -> list[str]:
        package, _, name = qualified_name.rpartition(".")
        return [path for path in self._files.get(package, ()) if name in self._names[path].outer]


class _GoPackages(_VisibleNames):
    """Go: a folder is a package, and is imported by the module's name and the way to it."""

    @cached_property
    def _modules(self) -> dict[str, str]:
        """Folder by the name of the module in it."""
        found = ((folder, _GO_MODULE.search(text)) for folder, text in self._texts_of("go.mod"))
        return {match[1]: folder for folder, match in found if match}

    def _visible(self, source: SourceFile) -> set[str]:
        visible = self._outer(self._by_folder[posixpath.dirname(source.path)])
        for imported in imports(source.text, source.language):
            files = self._files_of(imported.module)
            if imported.name == ALL:
                visible |= self._outer(files)
            elif files:
                visible.add(imported.name)
        return visible

    def _files_of(self, module: str) -> Collection[str]:
        for name, folder in self._modules.items():
            if f"{module}/".startswith(f"{name}/"):
                inside = posixpath.join(folder, module[len(name) + 1 :]).rstrip("/")
                return self._by_folder.get(inside, ())
        return ()


class _RustModules(_VisibleNames):
    """Rust: modules are files and what stands in them; only paths that begin in this repository count."""

    @cached_property
    def _crates(self) -> frozenset[str]:
        names = (name for _, text in self._texts_of("Cargo.toml") for name in _CRATE.findall(text))
        return frozenset(name.replace("-", "_") for name in names)

    @cached_property
    def _modules(self) -> Mapping[str, Collection[str]]:
        """Files by the name of the module that they are."""
        return _grouped((_rust_module(path), path) for path in self._names)

    @cached_property
    def _defining(self) -> Mapping[str, Collection[str]]:
        return _grouped((name, path) for path, names in self._names.items() for name in names.outer)

    def _visible(self, source: SourceFile) -> set[str]:
        declared = set(_RUST_MODULE.findall(source.text))
        visible = {name for name in declared if name in self._modules}
        for imported in imports(source.text, source.language):
            path = imported.module.split("::")
            if path[0] not in _THIS_CRATE | self._crates | declared:
                continue
            if imported.name == ALL:
                visible |= self._outer(self._modules.get(path[-1], ()))
            else:
                name = imported.original or path[-1]
                others = {*self._defining.get(name, ()), *self._modules.get(name, ())}
                visible.update([imported.name] if others - {source.path} else [])
        return visible


class _Includes(_VisibleNames):
    """C and C++: what is included is seen, and what that includes."""

    @cached_property
    def _by_name(self) -> Mapping[str, Collection[str]]:
        return _grouped((posixpath.basename(path), path) for path in self._names)

    @cached_property
    def _included(self) -> dict[str, list[str]]:
        """Files that a file includes itself, by its path."""
        return {
            source.path: [
                path
                for imported in imports(source.text, source.language)
                for path in self._found(imported.module, posixpath.dirname(source.path))
            ]
            for source in self._own
        }

    def _visible(self, source: SourceFile) -> set[str]:
        seen, waiting = {source.path}, [source.path]
        while waiting:
            new = [path for path in self._included[waiting.pop()] if path not in seen]
            seen.update(new)
            waiting += new
        return self._outer(seen - {source.path})

    def _found(self, name: str, folder: str) -> list[str]:
        """Files that an include may mean: beside the file, or somewhere below an include folder."""
        beside = posixpath.normpath(posixpath.join(folder, name))
        if beside in self._names:
            return [beside]
        below = f"/{name}"
        return [
            path for path in self._by_name.get(posixpath.basename(name), ()) if f"/{path}".endswith(below)
        ]


_RULES: Mapping[str, type[_ImportedNames] | type[_VisibleNames]] = {  # by family of languages
    "python": _ImportedNames,
    "javascript": _ImportedNames,
    "java": _Packages,
    "csharp": _Packages,
    "go": _GoPackages,
    "rust": _RustModules,
    "cpp": _Includes,
}


def _rust_module(path: str) -> str:
    """``a/b.rs`` and ``a/b/mod.rs`` are the module b."""
    folder, name = posixpath.split(path.removesuffix(".rs"))
    return posixpath.basename(folder) if name == "mod" else name


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, Collection[str]]:
    """Values by key, each once, in order."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for key, value in pairs:
        groups[key][value] = None
    return dict(groups)

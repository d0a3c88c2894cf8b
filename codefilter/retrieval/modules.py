"""Import statements ↔ files: does a file hold what a module name means?

In: a module as it is written in an import, the file that imports it, a file that may be it. Out: a
`Nearness`. Python's absolute and relative imports are resolved as Python does, but for `sys.path`: an
absolute import begins at a folder that is not itself a package, so `import json` does not mean
`pkg/json.py`. Elsewhere relative paths are resolved and other names are compared with the end of the path,
since build files would have to tell the rest.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import PurePosixPath

from codefilter.languages import LANGUAGES, family

_FOLDER_STEMS = {"python": "__init__", "javascript": "index", "rust": "mod"}  # stand for their folders
_NOT_NAMES = frozenset({"", ".", "..", "@", "~", "crate", "self", "super"})
_SEPARATORS = {"java": r"\.", "csharp": r"\.", "rust": "::", "cpp": "/|::"}
_SUFFIXES = frozenset(suffix for language in LANGUAGES for suffix in language.suffixes)
_GO_VERSION = re.compile(r"/v\d+$")

Parts = tuple[str, ...]


class Nearness(IntEnum):
    """How surely a file is what an import means."""

    NONE = 0
    RELATED = 1  # inside the package (which may export it again), or its name ends alike
    EXACT = 2


@dataclass(frozen=True)
class ModuleReference:
    """A module that a file imports."""

    language: str
    parts: Parts  # folders and name, without suffix
    is_anchored: bool  # `parts` begins at the repository's root

    def nearness(self, path: str, is_package: Callable[[str], bool]) -> Nearness:
        """Whether `path` is this module; `is_package` tells whether a folder is a Python package."""
        found = module_parts(path, self.language)
        length = len(self.parts)
        if self.is_anchored:
            if found[:length] != self.parts:
                return Nearness.NONE
            return Nearness.EXACT if len(found) == length else Nearness.RELATED
        for start in range(len(found) - length, -1, -1):
            if found[start : start + length] == self.parts:
                if self.language == "python" and start and is_package("/".join(found[:start])):
                    continue
                return Nearness.EXACT if start + length == len(found) else Nearness.RELATED
        if self.language != "python" and self.parts[-1] in found[-2:]:
            return Nearness.RELATED
        return Nearness.NONE


def module_reference(module: str, importing_path: str, language: str) -> ModuleReference | None:
    """What an import means; None where it can mean no file of the repository.

    Args:
        module: as `codefilter.languages.imports` gives it.
        importing_path: the file with the import, relative to the root.
        language: the file's language.
    """
    folder = posixpath.dirname(importing_path)
    if language == "python":
        name = module.lstrip(".")
        parts = tuple(name.split(".")) if name else ()
        num_dots = len(module) - len(name)
        if not num_dots:
            return ModuleReference(language, parts, is_anchored=False) if parts else None
        above = PurePosixPath(folder).parts
        if num_dots - 1 > len(above):
            return None
        return ModuleReference(language, above[: len(above) - num_dots + 1] + parts, is_anchored=True)
    if module.startswith(("./", "../")) or module in (".", ".."):
        path = posixpath.normpath(posixpath.join(folder, module))
        return (
            None
            if path.startswith("..")
            else ModuleReference(language, module_parts(path, language), is_anchored=True)
        )
    words = re.split(_SEPARATORS.get(language, "/"), _GO_VERSION.sub("", module))
    parts = module_parts("/".join(word for word in words if word not in _NOT_NAMES), language)
    return ModuleReference(language, parts, is_anchored=False) if parts else None


@lru_cache(maxsize=1 << 14)  # a query asks for the same paths again and again
def module_parts(path: str, language: str) -> Parts:
    """Folders and name of a file without its suffix; the language's main file of a folder stands for it.

    TypeScript's ``x.d.ts`` declares what ``x`` holds, so it has the same name.
    """
    parts = PurePosixPath(path).parts
    if not parts:
        return ()
    stem, dot, suffix = parts[-1].rpartition(".")
    name = (stem if f".{suffix}" in _SUFFIXES and dot else parts[-1]).removesuffix(".d")
    return parts[:-1] if name == _FOLDER_STEMS.get(family(language)) else (*parts[:-1], name)

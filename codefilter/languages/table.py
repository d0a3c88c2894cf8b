"""The table of languages: which files, which grammar, which queries, how a comment looks.

In: a path, perhaps with the file's text, or a language name. Out: a `Language` row, or "text" for everything
without a grammar.
Notable: a language is data only, a row here and a query file beside this module; grammars are single wheels
that are imported when one of them is first asked for: for its version, or to parse a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

TEXT = "text"


@dataclass(frozen=True)
class Language:
    """What is known about a programming language."""

    name: str
    suffixes: tuple[str, ...]  # lower case, with the dot
    grammar: str  # "module:function" of a tree-sitter wheel
    queries: tuple[str, ...]  # query files beside this module; a grammar that extends another reuses its file
    line_comment: str  # what begins a comment line
    file_names: tuple[str, ...] = ()  # well-known names without a telling suffix


LANGUAGES: tuple[Language, ...] = (
    Language(
        name="python",
        suffixes=(".py", ".pyi", ".pyw"),
        grammar="tree_sitter_python:language",
        queries=("python.scm",),
        line_comment="#",
        file_names=("SConstruct", "SConscript"),
    ),
    Language(
        name="javascript",
        suffixes=(".js", ".jsx", ".mjs", ".cjs"),
        grammar="tree_sitter_javascript:language",
        queries=("ecmascript.scm", "javascript.scm"),
        line_comment="//",
        file_names=("Jakefile",),
    ),
    Language(
        name="typescript",
        suffixes=(".ts", ".mts", ".cts"),
        grammar="tree_sitter_typescript:language_typescript",
        queries=("ecmascript.scm", "typescript.scm"),
        line_comment="//",
    ),
    Language(
        name="tsx",
        suffixes=(".tsx",),
        grammar="tree_sitter_typescript:language_tsx",
        queries=("ecmascript.scm", "typescript.scm"),
        line_comment="//",
    ),
    Language(
        name="java",
        suffixes=(".java",),
        grammar="tree_sitter_java:language",
        queries=("java.scm",),
        line_comment="//",
    ),
    Language(
        name="go",
        suffixes=(".go",),
        grammar="tree_sitter_go:language",
        queries=("go.scm",),
        line_comment="//",
    ),
    Language(
        name="rust",
        suffixes=(".rs",),
        grammar="tree_sitter_rust:language",
        queries=("rust.scm",),
        line_comment="//",
    ),
    Language(
        name="c",
        suffixes=(".c", ".h"),
        grammar="tree_sitter_c:language",
        queries=("c.scm",),
        line_comment="//",
    ),
    Language(
        name="cpp",
        suffixes=(".cc", ".cpp", ".cxx", ".c++", ".hh", ".hpp", ".hxx", ".h++", ".ipp", ".inl", ".tpp"),
        grammar="tree_sitter_cpp:language",
        queries=("c.scm", "cpp.scm"),
        line_comment="//",
    ),
    Language(
        name="csharp",
        suffixes=(".cs", ".csx"),
        grammar="tree_sitter_c_sharp:language",
        queries=("csharp.scm",),
        line_comment="//",
    ),
)

_FAMILIES = {"typescript": "javascript", "tsx": "javascript", "c": "cpp"}

_BY_NAME = {language.name: language for language in LANGUAGES}
_BY_SUFFIX = {suffix: language.name for language in LANGUAGES for suffix in language.suffixes}
_BY_FILE_NAME = {name: language.name for language in LANGUAGES for name in language.file_names}


# What C headers do not have. The C++ grammar would not do for both: it loses an eighth of the definitions of
# C headers, where macros stand for types (``PyAPI_FUNC(int) PyIter_Check(PyObject *);``).
_CPP_LINE = re.compile(
    r"""^[\ \t]*(?:
        template\s*<
        | (?:inline\s+)?namespace\b[\w\s:]{0,200}\{
        | (?:enum\s+)?class\s[\w\s()]{1,200}[:;{]
        | (?:public|private|protected)(?:\s+\w+)?\s*:
        | using\s[\w\s:]{1,200}[;=]
    ) | \bstd::\w""",
    re.MULTILINE | re.VERBOSE,
)


def language_of(path: str, text: str = "") -> str:
    """Language name of a file by its name; "text" where no grammar is known for it.

    The text tells whether a header (``.h``) is C++; without it, it counts as C.
    """
    name = PurePosixPath(path).name
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".h" and _CPP_LINE.search(text):
        return "cpp"
    return _BY_FILE_NAME.get(name) or _BY_SUFFIX.get(suffix, TEXT)


def get_language(name: str) -> Language | None:
    """Row of a language; None for "text" and for names that are not in the table."""
    return _BY_NAME.get(name)


def family(language: str) -> str:
    """What languages have in common whose files use each other's definitions: one of their names."""
    return _FAMILIES.get(language, language)


def line_comment(language: str) -> str:
    """What begins a comment line in that language; "#" for "text"."""
    row = _BY_NAME.get(language)
    return row.line_comment if row else "#"

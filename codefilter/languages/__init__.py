"""What is known about programming languages: names, comments, definitions, imports, identifiers.

In: a path or a text. Out: plain values, and the syntax tree for who needs more. No text makes anything raise.

To add a language: a row in `table.py`, and a query file beside it that captures

* ``@definition.KIND`` (class, struct, interface, enum, function, type, variable, field, macro) with the
  ``@name`` in it; ``@owner`` where the enclosing type is named in the definition itself (a Go receiver);
* ``@scope.KIND`` with ``@name`` for what qualifies names without being a definition (class: an impl block;
  namespace);
* ``@leading`` for what belongs to the definition below it (comments, decorators, attributes);
* ``@import.module``, ``@import.symbol``, ``@import.alias``, with the settings that `imports` explains;
* ``@identifier`` for every name in use.

Where two patterns name the same thing, the earlier one counts. A sample in ``tests/cases/languages`` and what
is expected of it complete the work.
"""

from codefilter.languages.definitions import Definition, definitions
from codefilter.languages.imports import ImportedName, imports
from codefilter.languages.syntax import (
    SyntaxTree,
    count_errors,
    has_syntax_error,
    identifiers,
    parse,
    parsing_versions,
)
from codefilter.languages.table import (
    LANGUAGES,
    TEXT,
    Language,
    family,
    get_language,
    language_of,
    line_comment,
)

__all__ = [
    "LANGUAGES",
    "TEXT",
    "Definition",
    "ImportedName",
    "Language",
    "SyntaxTree",
    "count_errors",
    "definitions",
    "family",
    "get_language",
    "has_syntax_error",
    "identifiers",
    "imports",
    "language_of",
    "line_comment",
    "parse",
    "parsing_versions",
]

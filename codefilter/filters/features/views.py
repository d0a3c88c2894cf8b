"""The place to complete and a candidate, read once: lines, names, what is imported and defined.

In: a request with its in-file context, or a chunk. Out: a `PlaceView` or a `ChunkView`, from which all
features are computed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from codefilter.filters.features.facts import RepositoryFacts
from codefilter.languages import Definition, ImportedName, definitions, imports, line_comment
from codefilter.prompts.in_file import InFileContext
from codefilter.retrieval.modules import ModuleReference, module_reference
from codefilter.types import Chunk, CompletionRequest
from codefilter.words import WORD, start_of_last

NEAR_LINES = 10  # before the hole
AFTER_LINES = 5
FAR_LINES = 40  # on both sides of what the prompt shows
FAMILIAR_LINES = 150  # of the in-file context that lines of chunks are compared with

_TOLD = 2  # names of each kind, to people
_NAME = re.compile(r"[^\W\d]\w+")
_TOKEN = re.compile(r"[^\W\d]\w*|\d+|[^\w\s]")
_CALLED = re.compile(r"([^\W\d]\w+)\s*\(")
_MEMBER = re.compile(r"\.\s*([^\W\d]\w+)")
_ASSIGNED = re.compile(
    r"^\s*(?:const |let |var |self\.|this\.)?([^\W\d]\w+)\s*(?::[^=\n]+)?=[^=]", re.MULTILINE
)


def names_of(text: str) -> frozenset[str]:
    """Distinct names of two characters or more; keywords among them, which are never rare."""
    return frozenset(_NAME.findall(text))


def tokens_of(text: str) -> list[str]:
    """Words, numbers and marks."""
    return _TOKEN.findall(text)


def called_names(text: str) -> frozenset[str]:
    """Names before an opening parenthesis."""
    return frozenset(_CALLED.findall(text))


def member_names(text: str) -> frozenset[str]:
    """Names behind a dot."""
    return frozenset(_MEMBER.findall(text))


def assigned_names(text: str) -> frozenset[str]:
    """Names that a line begins with and that get a value there."""
    return frozenset(_ASSIGNED.findall(text))


def filled_lines(text: str) -> list[str]:
    """Lines with something in them, without white space around."""
    return [stripped for line in text.split("\n") if (stripped := line.strip())]


def indent_of(line: str) -> int:
    """Columns before the first character; tabs go to every fourth."""
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())


@dataclass(frozen=True)
class PlaceView:
    """Everything that features ask of a place. "Shown" is what the prompt has of the file."""

    request: CompletionRequest
    in_file: InFileContext
    facts: RepositoryFacts

    @property
    def typed(self) -> str:
        """What stands in the current line before the cursor, without indentation."""
        return self.in_file.typed.strip()

    @cached_property
    def unfinished(self) -> str:
        """The word that the cursor stands at the end of; empty for a single character."""
        typed = self.in_file.typed
        found = _NAME.search(typed, start_of_last(WORD, typed))
        return found.group() if found else ""

    @cached_property
    def before(self) -> Sequence[str]:
        """Filled lines before the current one, the nearest last."""
        return filled_lines(self.in_file.prefix)

    @cached_property
    def after(self) -> Sequence[str]:
        """Filled lines behind the cursor, the nearest first."""
        return filled_lines(self.in_file.suffix)

    @cached_property
    def last_line(self) -> str:
        """The last filled line before the current one."""
        return self.before[-1] if self.before else ""

    @cached_property
    def next_step(self) -> int | None:
        """Columns by which the line behind the cursor stands further in than the one before it; or None."""
        if not self.after or not self.before:
            return None
        prefix = [line for line in self.in_file.prefix.split("\n") if line.strip()]
        suffix = [line for line in self.in_file.suffix.split("\n") if line.strip()]
        return indent_of(suffix[0]) - indent_of(prefix[-1])

    @cached_property
    def last_names(self) -> frozenset[str]:
        """Of the current line and the last one before it."""
        return names_of(f"{self.last_line}\n{self.typed}")

    @cached_property
    def near_text(self) -> str:
        """The last lines before the cursor."""
        return "\n".join([*self.before[-NEAR_LINES:], self.typed])

    @cached_property
    def near_tokens(self) -> Sequence[str]:
        """Words, numbers and marks of the last lines before the cursor."""
        return tokens_of(self.near_text)

    @cached_property
    def near_names(self) -> frozenset[str]:
        """Of the last lines before the cursor."""
        return names_of(self.near_text)

    @cached_property
    def after_names(self) -> frozenset[str]:
        """Of the first lines behind the cursor."""
        return names_of("\n".join(self.after[:AFTER_LINES]))

    @cached_property
    def around_text(self) -> str:
        """The last lines before the cursor and the first behind it."""
        return f"{self.near_text}\n" + "\n".join(self.after[:AFTER_LINES])

    @cached_property
    def around_names(self) -> frozenset[str]:
        """Of the lines before and behind the cursor."""
        return self.near_names | self.after_names

    @cached_property
    def around_called(self) -> frozenset[str]:
        """Names that these lines call."""
        return called_names(self.around_text)

    @cached_property
    def around_members(self) -> frozenset[str]:
        """Names that stand behind a dot there."""
        return member_names(self.around_text)

    @cached_property
    def shown_names(self) -> frozenset[str]:
        """Of all that the prompt shows of the file."""
        return names_of(f"{self.in_file.prefix}{self.in_file.typed}\n{self.in_file.suffix}")

    @cached_property
    def far_names(self) -> frozenset[str]:
        """Of the lines just outside what the prompt shows, which it does not show."""
        above = self.request.prefix[: -len(self.in_file.prefix + self.in_file.typed) or None]
        below = self.request.suffix[len(self.in_file.suffix) :]
        lines = [*above.split("\n")[-FAR_LINES:], *below.split("\n")[:FAR_LINES]]
        return names_of("\n".join(lines)) - self.shown_names

    @cached_property
    def hidden_names(self) -> frozenset[str]:
        """Of the whole file, which the prompt does not show."""
        return frozenset(self._counts) - self.shown_names

    @cached_property
    def often_hidden_names(self) -> frozenset[str]:
        """Hidden names that the file has three times or more."""
        return frozenset(name for name in self.hidden_names if self._counts[name] >= 3)

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(_NAME.findall(self.text))

    @cached_property
    def missing_names(self) -> frozenset[str]:
        """Used soon behind the cursor and nowhere before it: perhaps what is to be written brings them in."""
        return names_of("\n".join(self.after[: 2 * AFTER_LINES])) - names_of(self.request.prefix)

    @cached_property
    def imports(self) -> Sequence[ImportedName]:
        """What the file's import statements name."""
        return imports(self.text, self.request.language)

    @cached_property
    def imported(self) -> dict[str, str]:
        """Name in this file → name where it is defined."""
        return {one.name: one.original or one.name for one in self.imports}

    @cached_property
    def unused_imports(self) -> frozenset[str]:
        """Imported names that the rest of the file does not use (yet)."""
        once = {name for name, count in self._counts.items() if count == 1}
        return frozenset(once.intersection(self.imported))

    @cached_property
    def imported_names(self) -> frozenset[str]:
        """What is imported, by its names where it is defined."""
        return frozenset(self.imported.values())

    @cached_property
    def unused_imported_names(self) -> frozenset[str]:
        """The same of what is not used."""
        return frozenset(self.imported[name] for name in self.unused_imports)

    @cached_property
    def enclosing(self) -> Sequence[Definition]:
        """Definitions around the cursor, and one that begins just before it, the outermost first."""
        line = self.request.prefix.count("\n")
        first = max(0, line - 1)
        found = definitions(self.text, self.request.language, first, line + 1)
        return [d for d in found if d.name_line == first or d.name_line < line < d.end_line]

    @cached_property
    def header_names(self) -> frozenset[str]:
        """What stands on the first lines of the definitions around the cursor: bases, parameters, types."""
        lines = self.text.split("\n")
        return names_of("\n".join(lines[d.name_line] for d in self.enclosing)) - self.enclosing_names

    @cached_property
    def enclosing_names(self) -> frozenset[str]:
        """Names of the definitions around the cursor."""
        return frozenset(definition.name for definition in self.enclosing)

    @cached_property
    def text(self) -> str:
        """The whole file, without the hole."""
        return self.request.prefix + self.request.suffix

    @cached_property
    def modules(self) -> Sequence[ModuleReference]:
        """The modules that the file imports and that may be files of the repository."""
        language, path = self.request.language, self.request.path
        names = [one.module for one in self.imports]
        if language == "python":  # `from package import module`
            names += [
                f"{one.module}{'' if one.module.endswith('.') else '.'}{one.original}"
                for one in self.imports
                if one.original is not None
            ]
        found = (module_reference(name, path, language) for name in dict.fromkeys(names))
        return [reference for reference in found if reference is not None]

    @cached_property
    def is_package(self) -> Callable[[str], bool]:
        """Whether a folder of the repository is a Python package."""
        return cache(lambda folder: (self.facts.root / folder / "__init__.py").is_file())

    def weight(self, names: Iterable[str]) -> float:
        """Sum of rarities."""
        return sum(map(self.facts.rarity, names))

    def rarest(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names that say most, ties by spelling."""
        return tuple(sorted(names, key=lambda name: (-self.facts.rarity(name), name))[:_TOLD])


@dataclass(frozen=True)
class ChunkView:
    """Everything that features ask of a chunk, whatever the place."""

    chunk: Chunk
    defined: frozenset[str]

    @cached_property
    def lines(self) -> Sequence[str]:
        """Filled lines, in order."""
        return filled_lines(self.chunk.text)

    @cached_property
    def indents(self) -> Sequence[int]:
        """Columns before each filled line."""
        return [indent_of(line) for line in self.chunk.text.split("\n") if line.strip()]

    @cached_property
    def names(self) -> frozenset[str]:
        """All names."""
        return names_of(self.chunk.text)

    @cached_property
    def tokens(self) -> Sequence[str]:
        """Words, numbers and marks, in order."""
        return tokens_of(self.chunk.text)

    @cached_property
    def called(self) -> frozenset[str]:
        """Names that it calls, or defines with parameters."""
        return called_names(self.chunk.text)

    @cached_property
    def assigned(self) -> frozenset[str]:
        """Names that it gives a value."""
        return assigned_names(self.chunk.text)

    @cached_property
    def comment_share(self) -> float:
        """Of the filled lines."""
        mark = line_comment(self.chunk.language)
        return sum(line.startswith((mark, '"""', "/*", "*")) for line in self.lines) / max(1, len(self.lines))

    @cached_property
    def import_share(self) -> float:
        """Of the filled lines."""
        starts = ("import ", "from ", "#include", "using ", "use ", "require(")
        return sum(line.startswith(starts) for line in self.lines) / max(1, len(self.lines))

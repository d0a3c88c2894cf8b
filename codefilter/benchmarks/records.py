"""Lines of a released JSONL file → typed records.

In: a file. Out: a `Record` or a `Mismatch` per line. Notable: fields are checked one by one, because files of
other benchmarks and other versions look much the same, and a wrong type would only show up much later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from codefilter.benchmarks.base import Mismatch, MismatchReason
from codefilter.errors import SourceError
from codefilter.types import TaskLevel

SHARED_ID = "/idx"  # how the ids of RepoEval's function tasks end: all of a repository have the same

_MAX_NAME_BYTES = 255  # of a file or folder, on every usual file system
_SHOWN = 100  # characters of a value that is refused

T = TypeVar("T", str, int)


class WrongFormError(ValueError):
    """A value is not what the format says; the message names it."""


@dataclass(frozen=True)
class Record:
    """What RepoEval's and CrossCodeEval's records have in common."""

    file: str
    line: int  # 0-based line of the task file
    task_id: str
    repository: str
    path: str
    level: TaskLevel
    prompt: str
    target: str
    right_context: str  # empty in RepoEval
    context_start_line: int  # line of the source file that the prompt begins on
    start_line: int  # ... and the target
    fragments: tuple[tuple[str, str], ...] = field(default=(), kw_only=True)  # paths and texts of other files

    def mismatch(self, reason: MismatchReason, detail: str) -> Mismatch:
        """This record as one that gives no task."""
        return Mismatch(self.file, self.line, self.task_id, reason, detail, self.level)


@dataclass(frozen=True)
class RawLine:
    """One line of a file, still untyped."""

    file: str
    line: int
    values: Mapping[str, object]

    def section(self, name: str) -> RawLine:
        """A nested object."""
        value = self.values.get(name)
        if not isinstance(value, dict):
            raise WrongFormError(f"{name} is {_kind(value)}, not an object")
        return RawLine(self.file, self.line, value)

    def text(self, name: str) -> str:
        """A field that is text."""
        return self._typed(name, str, "text")

    def sections(self, name: str) -> list[RawLine]:
        """A field that is a list of objects, or missing."""
        values = self.values.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise WrongFormError(f"{name} is {_kind(values)}, not a list of objects")
        return [RawLine(self.file, self.line, value) for value in values]

    def texts(self, name: str) -> list[str]:
        """A field that is a list of text, not empty."""
        value = self.values.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise WrongFormError(f"{name} is {_kind(value)}, not a list of text")
        return value

    def number(self, *names: str) -> int:
        """A whole number from 0 on, under the first of the names that is there."""
        name = next((name for name in names if name in self.values), names[0])
        value = self._typed(name, int, "a whole number")
        if value < 0:
            raise WrongFormError(f"{name} is {value}, which is no line")
        return value

    def path(self, value: str) -> str:
        """A path that stays below the repository."""
        path = PurePosixPath(value.replace("\\", "/"))
        if not path.parts or path.is_absolute() or ".." in path.parts or not _is_writable(path):
            raise WrongFormError(f"{value[:_SHOWN]!r} is no path below a repository")
        return str(path)

    def _typed(self, name: str, kind: type[T], description: str) -> T:
        value = self.values.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise WrongFormError(f"{name} is {_kind(value)}, not {description}")
        return value


def read_lines(path: Path) -> Iterator[RawLine | Mismatch]:
    """The JSON objects of a file, line by line; blank lines are left out.

    Raises:
        SourceError: The file cannot be read as UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read {path}: {error}", hint="It must be a UTF-8 text file.") from None
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
            yield Mismatch(path.name, number, "", MismatchReason.NOT_JSON, str(error))
            continue
        if isinstance(values, dict):
            yield RawLine(path.name, number, values)
        else:
            detail = f"the line is {_kind(values)}, not an object"
            yield Mismatch(path.name, number, "", MismatchReason.WRONG_FORM, detail)


def read_records(path: Path, parse: Callable[[RawLine], Record]) -> Iterator[Record | Mismatch]:
    """The records of a file; a task id that comes again is a mismatch."""
    seen: set[str] = set()
    for line in read_lines(path):
        if isinstance(line, Mismatch):
            yield line
            continue
        try:
            record = parse(line)
        except WrongFormError as error:
            yield Mismatch(line.file, line.line, "", MismatchReason.WRONG_FORM, str(error))
            continue
        if record.task_id in seen:
            yield record.mismatch(MismatchReason.DUPLICATE, "only the first one counts")
            continue
        seen.add(record.task_id)
        yield record


def _is_writable(path: PurePosixPath) -> bool:
    """Whether a file system takes it: texts of other files are laid out as files."""
    try:
        parts = [part.encode() for part in path.parts]
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return all(len(part) <= _MAX_NAME_BYTES and b"\0" not in part for part in parts)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "missing"}
    return names.get(type(value), "a number")

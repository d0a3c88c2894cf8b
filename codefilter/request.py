"""A place in a file on disk → a `CompletionRequest`.

In: a path, a 1-based line and column as people give them, the end of a hole to take out. Out: the request,
the repository it belongs to, and the truth that stood in the hole.
"""

from __future__ import annotations

import os
import re
import reprlib
from dataclasses import dataclass
from pathlib import Path

from codefilter.errors import SourceError, UsageError
from codefilter.paths import expanded
from codefilter.source import Skipped, read_source
from codefilter.types import CompletionRequest

_ROOT_MARKS = (".git", ".hg", "pyproject.toml", "package.json", "Cargo.toml", "go.mod", "pom.xml")


@dataclass(frozen=True)
class Hole:
    """What to complete: from a 1-based line and column to another; the start alone is an insertion."""

    line: int
    column: int | None = None  # None: the end of the line
    end_line: int | None = None
    end_column: int | None = None  # None: the end of `end_line`


@dataclass(frozen=True)
class PlacedRequest:
    """A request and where it comes from."""

    request: CompletionRequest
    repository: Path | None  # None: the file is in none
    truth: str | None  # the text that was taken out; None for an insertion


def find_repository(file: Path) -> Path | None:
    """The nearest folder above a file that looks like a repository's root, else the file's own folder.

    None where that is the user's home, a folder for temporary files or the top of a file system: what else
    lies there has nothing to do with the file.
    """
    for folder in file.parents:
        if any((folder / mark).exists() for mark in _ROOT_MARKS):
            return folder
    temporary = (os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP"))
    others = [expanded("~"), *map(Path, ("/tmp", "/var/tmp", *filter(None, temporary)))]
    own = Path(os.path.realpath(file.parent))
    return None if own in (own.parent, *(Path(os.path.realpath(p)) for p in others)) else file.parent


def read_request(
    file: Path,
    hole: Hole,
    *,
    repository: Path | None = None,
    max_new_tokens: int = 64,
    max_lines: int | None = 1,
) -> PlacedRequest:
    """Read a file and make the request for a place in it.

    Where code is taken out, as many lines are asked for as it had.

    Raises:
        UsageError: The file or the place does not exist, or the file lies outside the repository.
        SourceError: The file is not source text, or holds secrets.
    """
    if not file.exists():
        raise UsageError(f"no file {file}", hint="Check the path; it is taken from the current folder.")
    if file.is_dir():
        raise UsageError(f"{file} is a folder", hint="Name a file in it; `codefilter index` takes folders.")
    file = file.resolve()
    found = find_repository(file) if repository is None else repository.resolve()
    root = found or file.parent
    if not root.is_dir():
        raise UsageError(f"no folder {root}", hint="Check the path after --repo.")
    if not file.is_relative_to(root):
        raise UsageError(f"{file} lies outside the repository {root}", hint="Give its own root with --repo.")
    path = file.relative_to(root).as_posix()
    source = read_source(root, path)
    if isinstance(source, Skipped):
        raise SourceError(
            f"{path} cannot be completed: {source.reason.value}",
            hint="Only readable source text without secrets is read.",
        )
    start, end = _offsets(source.text, hole)
    truth = source.text[start:end] if hole.end_line is not None else None
    request = CompletionRequest(
        path=path,
        prefix=source.text[:start],
        suffix=source.text[end:],
        language=source.language,
        max_new_tokens=max_new_tokens,
        max_lines=max_lines if truth is None else count_lines(truth),
    )
    return PlacedRequest(request, found, truth)


def count_lines(text: str) -> int:
    """Number of lines with something in them, at least 1: how many lines to ask for in its place."""
    return max(1, sum(bool(line.strip()) for line in text.split("\n")))


def _offsets(text: str, hole: Hole) -> tuple[int, int]:
    """Code point offsets of a hole; `UsageError` where it does not lie in the text."""
    lines = text.split("\n")
    start = _offset(lines, hole.line, hole.column)
    if hole.end_line is None:
        return start, start
    end = _offset(lines, hole.end_line, hole.end_column)
    if end < start:
        raise UsageError("the hole ends before it begins", hint="--hole-end is LINE:COLUMN, after --line.")
    return start, end


def _offset(lines: list[str], line: int, column: int | None) -> int:
    if not 1 <= line <= len(lines):
        raise UsageError(
            f"line {line} is not there: the file has {len(lines)} lines", hint="Lines count from 1."
        )
    length = len(lines[line - 1])
    if column is None:
        column = length + 1
    if not 1 <= column <= length + 1:
        raise UsageError(
            f"column {column} is not there: line {line} has {length} characters",
            hint=f"Columns count from 1; {length + 1} is the end of the line.",
        )
    return sum(len(text) + 1 for text in lines[: line - 1]) + column - 1


def parse_place(text: str) -> tuple[int, int | None]:
    """``12:5`` or ``12`` → line and column, 1-based."""
    place = re.fullmatch(r"(\d{1,9})(?::(\d{1,9}))?", text)
    if place is None:
        raise UsageError(
            f"{reprlib.repr(text)} is not a place", hint="Write LINE:COLUMN, both from 1, for example 12:5."
        )
    return int(place[1]), int(place[2]) if place[2] else None

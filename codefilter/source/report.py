"""What became of a repository's files: which are source, which are not and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

_MAX_EXAMPLES = 3


class SkipReason(StrEnum):
    """Why a file or folder of the repository is not read. A folder counts once, whatever it holds."""

    FOLDER = "folder of tools, caches or dependencies"
    IGNORED = "ignored by .gitignore or .codefilterignore"
    SECRET = "may hold secrets"
    GENERATED = "generated or minified, by its name"
    UNKNOWN_TYPE = "not a source or text file, by its name"
    ODD_NAME = "name is not UTF-8 or holds control characters"
    LINK = "link to another place in the repository"
    LINK_OUTSIDE = "leads out of the repository"
    LINK_BROKEN = "link to nothing or to itself"
    SPECIAL = "not a regular file"
    UNREADABLE = "cannot be opened"
    EMPTY = "empty"
    TOO_LARGE = "larger than the limit"
    LONG_LINES = "line longer than the limit"
    BINARY = "binary"
    CRASHED = "the process that read it died"


@dataclass(frozen=True)
class Skipped:
    """A file or folder that is left out."""

    path: str
    reason: SkipReason


@dataclass(frozen=True)
class ScanReport:
    """Files to read, sorted, and what was left out, counted by reason, with a few examples for each."""

    files: tuple[str, ...]
    skipped: Mapping[SkipReason, int] = field(default_factory=dict)
    examples: Mapping[SkipReason, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Iterable[str], skipped: Iterable[Skipped]) -> ScanReport:
        """Count what a scan left out."""
        return cls(tuple(sorted(files))).after_reading(skipped)

    def after_reading(self, skipped: Iterable[Skipped]) -> ScanReport:
        """The report once the files have been read: what turned out unreadable is moved from `files`."""
        counts = dict(self.skipped)
        examples = dict(self.examples)
        gone = set()
        for item in sorted(skipped, key=lambda item: item.path):
            gone.add(item.path)
            counts[item.reason] = counts.get(item.reason, 0) + 1
            if counts[item.reason] <= _MAX_EXAMPLES:
                examples[item.reason] = (*examples.get(item.reason, ()), item.path)
        kept = tuple(path for path in self.files if path not in gone)
        return ScanReport(kept, counts, examples)

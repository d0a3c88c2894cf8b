"""What an index holds and what it took to bring it up to date, for people and for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from codefilter.index.entry import FileEntry
from codefilter.source import SkipReason


@dataclass(frozen=True)
class LanguageShare:
    """What is indexed of one language."""

    num_files: int
    num_chunks: int
    num_lines: int


@dataclass(frozen=True)
class IndexReport:
    """The state after the last `open` or `refresh`."""

    languages: Mapping[str, LanguageShare]  # most lines first
    skipped: Mapping[SkipReason, int]
    skipped_examples: Mapping[SkipReason, tuple[str, ...]]
    num_syntax_errors: int  # files that do not parse completely; they are indexed all the same
    num_guessed_encodings: int  # files read in an encoding that they do not declare
    num_read: int  # files cut anew
    num_removed: int
    seconds: float
    rebuilt_because: str  # why a saved index could not be used; empty if it could, or if there was none
    notices: tuple[str, ...]  # what did not work as it should: not saved, no worker processes

    @property
    def num_files(self) -> int:
        """Number of files."""
        return sum(share.num_files for share in self.languages.values())

    @property
    def num_chunks(self) -> int:
        """Number of chunks."""
        return sum(share.num_chunks for share in self.languages.values())

    @property
    def num_lines(self) -> int:
        """Number of lines."""
        return sum(share.num_lines for share in self.languages.values())


def language_shares(entries: Iterable[FileEntry]) -> dict[str, LanguageShare]:
    """Sum up files by language, most lines first."""
    files: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for entry in entries:
        files[entry.language] += 1
        chunks[entry.language] += entry.num_chunks
        lines[entry.language] += entry.num_lines
    return {name: LanguageShare(files[name], chunks[name], lines[name]) for name, _ in lines.most_common()}

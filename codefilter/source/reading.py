"""Path → `SourceFile`, or the reason why it is none.

In: a repository's root and one path. Out: the decoded file or `Skipped`. A process pool can run it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from codefilter.languages import language_of
from codefilter.source.decoding import decode
from codefilter.source.names import is_odd_name, skip_reason_by_name
from codefilter.source.report import Skipped, SkipReason
from codefilter.source.scanning import DEFAULT_LIMITS, SourceLimits, size_reason
from codefilter.types import SourceFile, content_hash


@dataclass(frozen=True)
class DecodedSourceFile(SourceFile):
    """A source file, and how its bytes became text."""

    encoding: str
    is_encoding_guessed: bool  # nothing in the file declares its encoding, and it is not UTF-8


def read_source(
    root: Path, path: str, *, limits: SourceLimits = DEFAULT_LIMITS
) -> DecodedSourceFile | Skipped:
    """Read one file of a repository; `path` is relative to `root`, with forward slashes.

    Ignore rules are not asked (`skip_reason` does that). Never raises for what is on the disk: a file that is
    gone, changed or forbidden since the scan is `Skipped`.
    """
    reason = skip_reason_by_name(path) or (SkipReason.ODD_NAME if is_odd_name(path) else None)
    if reason:
        return Skipped(path, reason)
    place = Path(os.path.realpath(root)) / PurePosixPath(path)
    if Path(os.path.realpath(place)) != place:  # a link, or ".." in the path
        inside = Path(os.path.realpath(place)).is_relative_to(os.path.realpath(root))
        return Skipped(path, SkipReason.LINK if inside else SkipReason.LINK_OUTSIDE)
    try:
        status = place.lstat()
        if not stat.S_ISREG(status.st_mode):
            return Skipped(path, SkipReason.SPECIAL)
        reason = size_reason(path, status.st_size, limits)
        if reason:
            return Skipped(path, reason)
        data = place.read_bytes()
    except OSError:
        return Skipped(path, SkipReason.UNREADABLE)
    return _source_file(path, data, limits)


def text_reason(path: str, text: str, *, limits: SourceLimits = DEFAULT_LIMITS) -> SkipReason | None:
    """Why a text is left out, whoever has it: a file or an editor."""
    if not text.strip():
        return SkipReason.EMPTY
    if max(map(len, text.split("\n"))) > limits.max_line_characters:
        return SkipReason.LONG_LINES
    return size_reason(path, len(text), limits)


def _source_file(path: str, data: bytes, limits: SourceLimits) -> DecodedSourceFile | Skipped:
    decoded = decode(data, is_python=language_of(path) == "python")
    if decoded is None:
        return Skipped(path, SkipReason.BINARY)
    text = decoded.text
    reason = text_reason(path, text, limits=limits)
    if reason:
        return Skipped(path, reason)
    language = language_of(path, text)
    return DecodedSourceFile(path, text, language, content_hash(text), decoded.encoding, decoded.is_guess)

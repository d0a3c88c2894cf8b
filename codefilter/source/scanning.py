"""Repository → the files worth reading.

In: a root folder, perhaps a scope inside it. Out: a `ScanReport`, sorted paths and the reason for everything
else. Nothing is opened here but ignore files.
Notable: links are never followed; what they lead to inside the repository is found, and judged, at its own
place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from codefilter.errors import UsageError
from codefilter.languages import TEXT, language_of
from codefilter.source.ignoring import IgnoreRules
from codefilter.source.names import is_odd_name, is_skipped_folder, skip_reason_by_name
from codefilter.source.report import ScanReport, Skipped, SkipReason


@dataclass(frozen=True)
class SourceLimits:
    """Beyond these a file is taken for data."""

    max_bytes: int = 1_000_000
    max_text_bytes: int = 200_000  # for files without a grammar: data more often than prose
    max_line_characters: int = 5_000


DEFAULT_LIMITS = SourceLimits()


def scan(root: Path, *, scope: str | None = None, limits: SourceLimits = DEFAULT_LIMITS) -> ScanReport:
    """Find the source files of a repository.

    Args:
        root: the repository's folder, or one inside it: ignore files count from the repository's top down.
        scope: a folder inside it, relative to it or absolute; only its files are found, the rules of the
            folders above it hold.
        limits: sizes beyond which a file is left out.

    Raises:
        UsageError: `root` is no folder, or `scope` is no folder inside it.
    """
    root = _folder(root)
    files: list[str] = []
    skipped: list[Skipped] = []
    for path, reason in _walk(root, scope_parts(root, scope), limits):
        if reason is None:
            files.append(path)
        else:
            skipped.append(Skipped(path, reason))
    return ScanReport.of(files, skipped)


def skip_reason(root: Path, path: str, *, limits: SourceLimits = DEFAULT_LIMITS) -> SkipReason | None:
    """Why a scan of `root` would leave one file out, or None where it would find it.

    The file need not exist, or not yet: where nothing else speaks against it, the reason is
    `SkipReason.UNREADABLE`.
    """
    root = _folder(root)
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or PurePosixPath(path).is_absolute():
        return SkipReason.LINK_OUTSIDE
    rules = IgnoreRules.at_root(root)
    for depth in range(1, len(parts)):
        folder = "/".join(parts[:depth])
        reason = _entry_reason(root, folder, rules, limits, is_folder=True)
        if reason not in (None, SkipReason.UNREADABLE):
            return reason
        rules = rules.inside(folder)
    return _entry_reason(root, "/".join(parts), rules, limits, is_folder=False)


def scope_parts(root: Path, scope: str | None) -> tuple[str, ...]:
    """Names of the folders from the root to a scope; `UsageError` where it is no folder inside the root."""
    if scope is None:
        return ()
    place = Path(os.path.realpath(root / scope))
    if not stat.S_ISDIR(_mode(place)):
        raise UsageError(
            f"the scope {scope} is not a folder of {root}", hint="Name a folder inside the repository."
        )
    try:
        return place.relative_to(os.path.realpath(root)).parts
    except ValueError:
        raise UsageError(
            f"the scope {scope} lies outside of {root}", hint="Name a folder inside the repository."
        ) from None


def _folder(root: Path) -> Path:
    if not stat.S_ISDIR(_mode(root)):
        kind = "a file" if _mode(root) else "missing"
        raise UsageError(f"{root} is not a folder: it is {kind}", hint="Name the folder of a repository.")
    return Path(os.path.realpath(root))


def _walk(
    root: Path, scope: tuple[str, ...], limits: SourceLimits
) -> Iterator[tuple[str, SkipReason | None]]:
    """Every entry that is judged by itself, with the reason against it; folders only where there is one."""
    pending = [("", IgnoreRules.at_root(root))]
    while pending:
        folder, rules = pending.pop()
        depth = len(PurePosixPath(folder).parts)
        try:
            with os.scandir(root / folder) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError:
            yield folder or ".", SkipReason.UNREADABLE
            continue
        for name, is_folder in found:
            if depth < len(scope) and name != scope[depth]:
                continue
            path = f"{folder}/{name}" if folder else name
            reason = _entry_reason(root, path, rules, limits, is_folder=is_folder)
            if is_folder and reason is None:
                pending.append((path, rules.inside(path)))
            else:
                yield path, reason


def _entry_reason(
    root: Path, path: str, rules: IgnoreRules, limits: SourceLimits, *, is_folder: bool
) -> SkipReason | None:
    """Why an entry of a folder with these rules is left out."""
    place = root / path
    if is_odd_name(place.name):
        return SkipReason.ODD_NAME
    try:
        status = place.lstat()
    except OSError:
        return _absent_reason(path, rules, is_folder=is_folder)
    if stat.S_ISLNK(status.st_mode):
        return _link_reason(root, place)
    if is_folder:
        if is_skipped_folder(place.name) or _is_marked(place):
            return SkipReason.FOLDER
        return SkipReason.IGNORED if rules.ignores(path, is_folder=True) else None
    if not stat.S_ISREG(status.st_mode):
        return SkipReason.SPECIAL
    if rules.ignores(path, is_folder=False):
        return SkipReason.IGNORED
    return skip_reason_by_name(path) or size_reason(path, status.st_size, limits)


def _absent_reason(path: str, rules: IgnoreRules, *, is_folder: bool) -> SkipReason:
    """Why an entry that is not there would be left out; an editor may have a text for it already."""
    if is_folder and is_skipped_folder(PurePosixPath(path).name):
        return SkipReason.FOLDER
    if rules.ignores(path, is_folder=is_folder):
        return SkipReason.IGNORED
    return (None if is_folder else skip_reason_by_name(path)) or SkipReason.UNREADABLE


def size_reason(path: str, num_bytes: int, limits: SourceLimits) -> SkipReason | None:
    """Why a file of that size is left out."""
    if num_bytes == 0:
        return SkipReason.EMPTY
    limit = limits.max_bytes if language_of(path) != TEXT else min(limits.max_bytes, limits.max_text_bytes)
    return SkipReason.TOO_LARGE if num_bytes > limit else None


def _link_reason(root: Path, link: Path) -> SkipReason:
    target = Path(os.path.realpath(link))
    if not _mode(target):
        return SkipReason.LINK_BROKEN
    return SkipReason.LINK if target.is_relative_to(root) else SkipReason.LINK_OUTSIDE


def _is_marked(folder: Path) -> bool:
    """Whether a folder says itself that it is a virtual environment or a cache (bford.info/cachedir)."""
    return any(_mode(folder / name) for name in ("pyvenv.cfg", "CACHEDIR.TAG"))


def _mode(place: Path) -> int:
    """Mode bits of what a path leads to; 0 where there is nothing, or nothing that may be seen."""
    try:
        return place.stat().st_mode
    except OSError:
        return 0

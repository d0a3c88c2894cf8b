"""Which paths a repository's own rules leave out: .gitignore files at every level, .git/info/exclude.

In: a repository's root, then its folders from the top down. Out: yes or no for an entry of such a folder.
Notable: as in git, the deepest file with a fitting line decides, its last fitting line counts, and what lies
in an ignored folder cannot come back: the caller never enters one. Rules from outside the repository (a
user's global ignore file, folders above the root) are not read: a repository gives the same index everywhere.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE_FILES = (".gitignore", ".codefilterignore")  # the later has the last word
# Lines whose last part is only stars: pathspec loses the place of what they fit. The same in other words:
_ANY_FOLDER = ((re.compile(r"(?<![^!/])\*\*/$"), "**/?*/"), (re.compile(r"(?<![^!/])\*/$"), "?*/"))


@dataclass(frozen=True)
class _Level:
    """The lines of one folder's ignore files; they see paths below that folder."""

    prefix: str  # "" at the root, else "a/b/"
    patterns: tuple[GitIgnoreSpecPattern, ...]

    def decision(self, path: str) -> bool | None:
        """True: ignored; False: kept by a line with an exclamation mark; None: no line fits."""
        below = path[len(self.prefix) :]
        for pattern in reversed(self.patterns):
            result = pattern.match_file(below)
            if result is not None and _fits_itself(result.match, below):
                return pattern.include
        return None


def _fits_itself(match: re.Match[str], path: str) -> bool:
    """Whether a line fits the entry and not only a folder above it.

    Pathspec finds both. The only group of its expressions is the slash of the folder that fits; without it
    the line fits a file, everything ("*"), or everything inside a folder ("a/**", which is not the folder).
    """
    if path.endswith("/"):
        return (match.lastgroup is not None) == (match.end() == len(path))
    return match.lastgroup is None


@dataclass(frozen=True)
class IgnoreRules:
    """All rules that hold in one folder."""

    root: Path
    levels: tuple[_Level, ...] = ()  # outermost first

    @classmethod
    def at_root(cls, root: Path) -> IgnoreRules:
        """Rules for the entries of the repository's root."""
        exclude = _Level("", _patterns([root / ".git" / "info" / "exclude"]))
        return cls(root, (exclude,) if exclude.patterns else ())._with_folder("")

    def inside(self, folder: str) -> IgnoreRules:
        """Rules for the entries of a folder ("a/b") whose parent's rules these are."""
        return self._with_folder(folder + "/")

    def _with_folder(self, prefix: str) -> IgnoreRules:
        level = _Level(prefix, _patterns([self.root / prefix / name for name in IGNORE_FILES]))
        return IgnoreRules(self.root, (*self.levels, level)) if level.patterns else self

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Whether an entry of that folder, named by its path from the root, is ignored."""
        path += "/" * is_folder
        for level in reversed(self.levels):
            decision = level.decision(path)
            if decision is not None:
                return decision
        return False


def _patterns(paths: list[Path]) -> tuple[GitIgnoreSpecPattern, ...]:
    """Patterns of the files that exist, in order. A line that is no valid pattern fits nothing, as in git."""
    patterns = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig", errors="surrogateescape") if path.is_file() else ""
        except OSError:
            continue
        for line in text.split("\n"):
            line = line.rstrip("\r")
            for stars, same in _ANY_FOLDER:
                line = stars.sub(same, line)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)  # of `re`, for [[:alpha:]]
                    pattern = GitIgnoreSpecPattern(line)
            except (ValueError, re.error):
                continue
            if pattern.include is not None:
                patterns.append(pattern)
    return tuple(patterns)

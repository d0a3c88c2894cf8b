"""Which paths a repository's own rules leave out: .gitignore files at every level, .git/info/exclude.

In: a root folder, then its folders from the top down. Out: yes or no for an entry of such a folder.
Notable: as in git, the deepest file with a fitting line decides, its last fitting line counts, and what lies
in an ignored folder cannot come back: the caller never enters one. A root inside a git repository obeys the
rules from that repository's top down, unless they ignore the root itself: who names it wants it. In a
repository inside another, as a submodule is, git's rules begin anew; our own ignore files hold all the way
down. Rules from outside the repository (a user's global ignore file, folders above) are not read: a
repository gives the same index everywhere.
"""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

_OWN_FILE = ".codefilterignore"
IGNORE_FILES = (".gitignore", _OWN_FILE)  # the later has the last word
# Lines whose last part is only stars: pathspec loses the place of what they fit. The same in other words:
_ANY_FOLDER = ((re.compile(r"(?<![^!/])\*\*/$"), "**/?*/"), (re.compile(r"(?<![^!/])\*/$"), "?*/"))


@dataclass(frozen=True)
class _Level:
    """The lines of one ignore file; they see paths below its folder."""

    prefix: str  # the folder: "" at the root, else "a/b/"
    patterns: tuple[GitIgnoreSpecPattern, ...]
    is_own: bool  # of a file that git does not know

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

    top: Path  # of the git repository that the root is in; without one, the root
    levels: tuple[_Level, ...] = ()  # outermost first
    root_prefix: str = ""  # from the top to the root: "" or "a/b/"

    @classmethod
    def at_root(cls, root: Path) -> IgnoreRules:
        """Rules for the entries of a root, an absolute path without links."""
        top = next((folder for folder in (root, *root.parents) if os.path.lexists(folder / ".git")), root)
        rules = cls(top)._with_folder("")
        prefix = ""
        for name in root.relative_to(top).parts:
            if rules.ignores(prefix + name, is_folder=True):
                return cls(root)._with_folder("")
            prefix += name + "/"
            rules = rules._with_folder(prefix)
        return replace(rules, root_prefix=prefix)

    def inside(self, folder: str) -> IgnoreRules:
        """Rules for the entries of a folder ("a/b") whose parent's rules these are."""
        return self._with_folder(f"{self.root_prefix}{folder}/")

    def _with_folder(self, prefix: str) -> IgnoreRules:
        folder, before = self.top / prefix, self.levels
        files = [folder / name for name in IGNORE_FILES]
        if os.path.lexists(folder / ".git"):
            files.insert(0, _git_folder(folder) / "info" / "exclude")
            before = tuple(level for level in before if level.is_own)
        levels = (_Level(prefix, _patterns(file), file.name == _OWN_FILE) for file in files)
        return replace(self, levels=(*before, *(level for level in levels if level.patterns)))

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Whether an entry of that folder, named by its path from the root, is ignored."""
        path = self.root_prefix + path + "/" * is_folder
        for level in reversed(self.levels):
            decision = level.decision(path)
            if decision is not None:
                return decision
        return False


def _git_folder(top: Path) -> Path:
    """Where a repository keeps what its worktrees share; in a worktree or submodule, a file tells."""
    git = top / ".git"
    if pointer := _text(git).strip():
        git = top / pointer.removeprefix("gitdir:").strip()
    return git / _text(git / "commondir").strip()


def _text(path: Path) -> str:
    """A file's text; empty where there is none, or none to be read."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape") if path.is_file() else ""
    except OSError:
        return ""


def _patterns(file: Path) -> tuple[GitIgnoreSpecPattern, ...]:
    """Patterns of a file, which need not exist. A line that is no valid pattern fits nothing, as in git."""
    patterns = []
    for line in _text(file).split("\n"):
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

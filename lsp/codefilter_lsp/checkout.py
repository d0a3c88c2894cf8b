"""What git has checked out: read from its files, without running it.

In: a folder. Out: a text that is another after a switch of branches, a commit or a pull.

Notable: `.git` may be a folder, here or above, or a file that names one (worktrees, submodules). A hostile
repository could name any folder there, so only places of git's own kind are followed, no links, and nothing
but `HEAD` and the branch is read.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

_MOST_CHARACTERS = 1000
_BRANCH = re.compile(r"ref: (refs/heads/[^\s\0]+)\s*")
_LINK = re.compile(r"gitdir: (.+?)\s*")


def checkout_of(folder: Path) -> str:
    """What HEAD says, and the branch that it names; empty where there is no repository."""
    places = (place for parent in (folder, *folder.parents) if (place := parent / ".git").exists())
    git = next(places, None)
    if git is not None and git.is_file():
        git = _linked(git)
    if git is None or git.is_symlink():
        return ""
    head = _read(git, "HEAD")
    branch = _BRANCH.fullmatch(head)
    if branch is None:
        return head
    return head + _read(git.parent.parent if git.parent.name == "worktrees" else git, branch[1])


def _linked(file: Path) -> Path | None:
    """The folder that a `.git` file names: of a worktree or a submodule, else None."""
    link = _LINK.fullmatch(_read(file.parent, file.name))
    if link is None:
        return None
    parts = (git := (file.parent / link[1]).resolve()).parts
    is_gits_own = any(
        above.endswith(".git") and kind in ("worktrees", "modules") for above, kind in pairwise(parts)
    )
    return git if is_gits_own else None


def _read(folder: Path, name: str) -> str:
    """The beginning of a file that is really in the folder; empty where there is none."""
    try:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            return ""
        with (folder / name).open(encoding="utf-8", errors="replace") as opened:
            return opened.read(_MOST_CHARACTERS)
    except OSError:
        return ""

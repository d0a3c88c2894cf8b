"""A folder of real source files to type in, with secrets planted where no prompt may find them.

Every planted copy is code like that of its neighbours, so that retrieval would like it; the visible one shows
that planted words do reach prompts.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import codefilter

_SOURCES = Path(codefilter.__file__).parent
_PACKAGES = ("retrieval", "prompts", "source", "metrics")
_COPIED = "prompts/layouts.py"
HIDDEN = {  # where a copy with a canary lies, and its name
    ".env": "CANARY_env",
    "config/credentials.json": "CANARY_credentials",
    "keys/id_rsa": "CANARY_key",
    "build/layouts.py": "CANARY_build",
    "private/layouts.py": "CANARY_private",
    "inner/secret_layouts.py": "CANARY_nested",
}
UNSAVED = {"new/.env": "CANARY_unsaved", "build/later.py": "CANARY_later"}  # only in an editor's buffer
VISIBLE = {"copies/layouts.py": "VISIBLE_copy"}
OUTSIDE = "CANARY_outside"


def make_workspace(folder: Path) -> Path:
    """A workspace below a folder; beside it lies a file that a link in it points to."""
    root = folder / "workspace"
    for package in _PACKAGES:
        shutil.copytree(
            _SOURCES / package, root / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    for name, word in {**HIDDEN, **VISIBLE}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(with_word(word), encoding="utf-8")
    (root / ".gitignore").write_text("build/\n")
    (root / ".codefilterignore").write_text("private/\n")
    (root / "inner" / ".gitignore").write_text("secret_*\n")
    outside = folder / "outside"
    outside.mkdir()
    (outside / "layouts.py").write_text(with_word(OUTSIDE), encoding="utf-8")
    (root / "linked.py").symlink_to(outside / "layouts.py")
    (root / "linked").symlink_to(outside, target_is_directory=True)
    (root / ".git" / "refs" / "heads").mkdir(parents=True)
    (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return root


def with_word(word: str) -> str:
    """A module in which a word stands behind every line of code."""
    lines = (_SOURCES / _COPIED).read_text(encoding="utf-8").split("\n")
    return "\n".join(f"{line}  # {word}" if line.strip() else line for line in lines)

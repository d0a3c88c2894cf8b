"""What is checked out, against git itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from codefilter_lsp.checkout import checkout_of

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not on the PATH")


def git(folder: Path, *arguments: str) -> None:
    settings = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "inner" / "folder").mkdir(parents=True)
    git(root, "init", "--initial-branch", "main")
    commit(root)
    git(root, "branch", "other")
    return root


def commit(folder: Path) -> None:
    git(folder, "commit", "--allow-empty", "--message", "m")


@needs_git
def test_switches_and_commits_are_seen_from_the_root_and_from_below(repository: Path) -> None:
    for folder in (repository, repository / "inner" / "folder"):
        first = checkout_of(folder)
        assert "refs/heads/main" in first
        git(repository, "switch", "other")
        second = checkout_of(folder)
        assert "refs/heads/other" in second
        commit(repository)
        assert checkout_of(folder) not in (first, second)
        git(repository, "switch", "--detach", "main")
        assert checkout_of(folder) != ""
        git(repository, "switch", "main")
        assert checkout_of(folder) == first


@needs_git
@pytest.mark.parametrize("branch", ["fix#12", "@types-node", "c++", "größe", "a=b,c"])
def test_commits_on_branches_of_any_name_are_seen(repository: Path, branch: str) -> None:
    git(repository, "switch", "--create", branch)
    first = checkout_of(repository)
    commit(repository)
    assert checkout_of(repository) != first


@needs_git
def test_worktrees_and_submodules(repository: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git(repository, "worktree", "add", str(tree), "other")
    assert "refs/heads/other" in (first := checkout_of(tree))
    commit(tree)
    assert checkout_of(tree) != first
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init")
    git(outer, "submodule", "add", str(repository), "part")
    assert "refs/heads/main" in (first := checkout_of(outer / "part"))
    commit(outer / "part")
    assert checkout_of(outer / "part") != first


@pytest.mark.parametrize("named", ["../outside", "../outside/worktrees/x", "nowhere", ""])
def test_a_repository_cannot_name_any_folder(tmp_path: Path, named: str) -> None:
    for folder in (tmp_path / "outside", tmp_path / "outside" / "worktrees" / "x"):
        folder.mkdir(parents=True)
        (folder / "HEAD").write_text("private")
    root = tmp_path / "root"
    root.mkdir()
    (root / ".git").write_text(f"gitdir: {named}\n")
    assert checkout_of(root) == ""


def test_nothing_leads_out_of_a_repository(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    for name in ("HEAD", "main"):
        (tmp_path / "outside" / name).write_text("private")
    root = tmp_path / "root"
    (root / ".git" / "refs").mkdir(parents=True)
    head = root / ".git" / "HEAD"
    head.write_text("ref: refs/heads/../../../../outside/main\n")
    assert checkout_of(root) == head.read_text()
    head.write_text("ref: refs/heads/main\n")
    (root / ".git" / "refs" / "heads").symlink_to(tmp_path / "outside")
    assert checkout_of(root) == head.read_text()
    head.unlink()
    head.symlink_to(tmp_path / "outside" / "HEAD")
    assert checkout_of(root) == ""
    shutil.rmtree(root / ".git")
    (root / ".git").symlink_to(tmp_path / "outside")
    assert checkout_of(root) == ""

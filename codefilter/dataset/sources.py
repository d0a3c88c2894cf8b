"""Where examples come from: folders, and packages of the manifest.

In: what the command line names. Out: `RepositorySource`s, read only when their turn comes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from codefilter.dataset.description import Description, SourceRecord
from codefilter.errors import UsageError
from codefilter.packages import PackagePin, fetch_package, load_corpora
from codefilter.source import scan
from codefilter.tasks import TaskRepository, read_repository


@dataclass(frozen=True)
class RepositorySource:
    """One repository, by folder or by package."""

    name: str
    version: str
    folder: Path | None = None
    pin: PackagePin | None = None

    @property
    def root(self) -> Path:
        """Its folder; a package is fetched on the first call."""
        if self.folder is not None:
            return self.folder
        if self.pin is None:
            raise ValueError(f"{self.name} is neither folder nor package")
        return fetch_package(self.pin)

    def read(self) -> TaskRepository:
        """Its files."""
        return read_repository(self.root, self.name, self.version)

    def record(self, problem: str = "") -> SourceRecord:
        """What the dataset remembers of it."""
        return SourceRecord(self.name, self.version, self.pin.sha256 if self.pin else "", problem)


def find_sources(names: Sequence[str]) -> list[RepositorySource]:
    """Sources by name: an existing folder, or a package of the manifest, as ``name`` or ``name==version``.

    Without names: every package of role "train".

    Raises:
        UsageError: nothing of that name, two of the same name, or a package that only benchmarks may use.
    """
    pins = {pin.name: pin for pin in load_corpora()}
    if names:
        found = [_find(name, pins) for name in names]
    else:
        found = [_of_package(pin) for pin in pins.values() if pin.role == "train"]
    twice = {source.name for source in found if sum(source.name == other.name for other in found) > 1}
    if twice:
        raise UsageError(
            f"several repositories are named {', '.join(sorted(twice))}", hint="Rename the folders."
        )
    return found


def find_roots(
    description: Description, folders: Sequence[str], needed: Collection[str] | None = None
) -> dict[str, Path]:
    """Where the repositories of a dataset are: packages in the cache (fetched if need be), folders as given.

    Args:
        description: of the dataset.
        folders: of the repositories that are no packages; named like them.
        needed: those that labels name (`repositories_of`), whatever problem one of them had at the last
            build; by default all that had none.
    """
    roots = {Path(folder).resolve().name: Path(folder).resolve() for folder in folders}
    pins = {pin.sha256: pin for pin in load_corpora()}
    for source in description.sources:
        wanted = source.name in needed if needed is not None else not source.problem
        if wanted and source.name not in roots and source.sha256 in pins:
            roots[source.name] = fetch_package(pins[source.sha256])
    return roots


def sources_of(
    description: Description, folders: Sequence[str], names: Collection[str]
) -> list[RepositorySource]:
    """The sources of these names that a dataset was labelled from; packages are found by their hash.

    Args:
        description: of the dataset.
        folders: of the repositories that are no packages; named like them.
        names: those whose roots `find_roots` found.
    """
    by_name = {Path(folder).resolve().name: folder for folder in folders}
    pins = {pin.sha256: pin for pin in load_corpora()}
    return [
        _find(by_name[source.name], {}) if source.name in by_name else _of_package(pins[source.sha256])
        for source in description.sources
        if source.name in names
    ]


def _find(name: str, pins: dict[str, PackagePin]) -> RepositorySource:
    folder = Path(name)
    if folder.is_dir():
        folder = folder.resolve()
        return RepositorySource(folder.name, _commit(folder), folder=folder)
    package, _, version = name.partition("==")
    pin = pins.get(package)
    if pin is None or version not in ("", pin.version):
        raise UsageError(
            f"{name} is neither a folder nor a package of the manifest",
            hint="See data/manifests/corpora.toml for the packages.",
        )
    if pin.role != "train":
        raise UsageError(
            f"{name} belongs to the benchmarks: nothing may be trained on it",
            hint='Choose packages of role "train".',
        )
    return _of_package(pin)


def _of_package(pin: PackagePin) -> RepositorySource:
    return RepositorySource(pin.name, pin.version, pin=pin)


def _commit(folder: Path) -> str:
    """The commit of a git checkout, with ``+changes`` where its source files are others; empty elsewhere."""
    if not (folder / ".git").exists():
        return ""
    commit = _git(folder, "rev-parse", "--verify", "HEAD").decode().strip()
    return f"{commit}+changes" if commit and _is_changed(folder) else commit


def _is_changed(folder: Path) -> bool:
    """Whether source files are not those of the commit.

    Not by ``git status``, which may run commands that the checkout's own configuration names.
    """
    committed = {}  # path → hash of the file as git keeps it
    for line in _git(folder, "ls-tree", "-r", "-z", "HEAD").split(b"\0")[:-1]:
        about, _, path = line.partition(b"\t")
        committed[os.fsdecode(path)] = about.split()[2].decode()
    if not all(os.path.lexists(folder / path) for path in committed):
        return True
    return not all(_has_hash(folder / path, committed.get(path, "")) for path in scan(folder).files)


def _has_hash(path: Path, committed: str) -> bool:
    """Whether a file is the one that git calls by a hash."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    algorithm = "sha256" if len(committed) == 64 else "sha1"
    found = hashlib.new(algorithm, b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return found.hexdigest() == committed


def _git(folder: Path, *arguments: str) -> bytes:
    """What git prints about a checkout; nothing where there is no git, or it fails. It fetches nothing."""
    command = ["git", "-c", "protocol.allow=never", *arguments]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, check=False).stdout
    except OSError:
        return b""

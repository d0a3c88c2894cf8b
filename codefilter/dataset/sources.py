"""Where examples come from: folders, and packages of a manifest.

In: what the command line names. Out: `RepositorySource`s, read only when their turn comes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codefilter.dataset.description import Description, SourceRecord
from codefilter.errors import DatasetError, UsageError
from codefilter.packages import (
    OWN_MANIFEST,
    PackagePin,
    fetch_package,
    load_corpora,
    pin_package,
    read_manifest,
)
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
        sha256, wheel = (self.pin.sha256, self.pin.wheel) if self.pin else ("", "")
        return SourceRecord(self.name, self.version, sha256, problem, wheel)


def find_sources(names: Sequence[str], manifest: Path | None = None) -> list[RepositorySource]:
    """Sources by name: an existing folder, or a package of the manifest, as ``name`` or ``name==version``.

    Args:
        names: without any: every package of role "train".
        manifest: of packages that are taken instead of our own (`read_manifest`).

    Raises:
        UsageError: nothing of that name, two of the same name, or a package that only benchmarks may use.
    """
    packages = load_corpora() if manifest is None else read_manifest(manifest)
    pins = {pin.name: pin for pin in packages}
    if names:
        found = [_find(name, pins, manifest or OWN_MANIFEST) for name in names]
    else:
        found = [_of_package(pin) for pin in pins.values() if pin.role == "train"]
        if not found:
            raise UsageError(
                f'no package of {manifest} has the role "train"', hint="Only these are labelled."
            )
    _refuse_benchmarks(found)
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
    pins = _pins_of(description)
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
    pins = _pins_of(description)
    return [
        _of_folder(Path(by_name[source.name])) if source.name in by_name else _of_package(pins[source.sha256])
        for source in description.sources
        if source.name in names
    ]


def _pins_of(description: Description) -> dict[str, PackagePin]:
    """Packages by their hash: ours, and those that a dataset itself names.

    Raises:
        DatasetError: it names one by something that is no file of a package index.
    """
    pins = {pin.sha256: pin for pin in load_corpora()}
    for source in description.sources:
        if source.wheel:
            named = {key: getattr(source, key) for key in ("name", "version", "wheel", "sha256")}
            try:
                pins[source.sha256] = pin_package({**named, "role": "train"})
            except ValueError as error:
                raise DatasetError(
                    f"the dataset's description names no package: {error}", hint="Build it again."
                ) from error
    return pins


def _find(name: str, pins: Mapping[str, PackagePin], manifest: Path) -> RepositorySource:
    if Path(name).is_dir():
        return _of_folder(Path(name))
    package, _, version = name.partition("==")
    pin = pins.get(package)
    if pin is None or version not in ("", pin.version):
        raise UsageError(
            f"{name} is neither a folder nor a package of the manifest",
            hint=f"See {manifest} for the packages.",
        )
    return _of_package(pin)


def _refuse_benchmarks(sources: Sequence[RepositorySource]) -> None:
    """`UsageError` for a package that a manifest, or our own, gives another role than "train"."""
    benchmarks = [pin for pin in load_corpora() if pin.role != "train"]
    reserved = {known for pin in benchmarks for known in (pin.key, pin.sha256)}
    for source in sources:
        pin = source.pin
        if pin is not None and (pin.role != "train" or not reserved.isdisjoint((pin.key, pin.sha256))):
            raise UsageError(
                f"{source.name} belongs to the benchmarks: nothing may be trained on it",
                hint='Choose packages of role "train".',
            )


def _of_folder(folder: Path) -> RepositorySource:
    folder = folder.resolve()
    return RepositorySource(folder.name, _commit(folder), folder=folder)


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

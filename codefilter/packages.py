"""Packages of the Python index as plain data: pinned wheels, unpacked or read, never installed or imported.

In: a wheel's file name and sha256. Out: the verified wheel, one member of it, or its unpacked sources.
Notable: pip itself fetches, in a process of its own, so that the index, mirrors, certificates and credentials
of the user's configuration hold here too.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, get_args

from packaging.utils import canonicalize_name

from codefilter.errors import DownloadError, IntegrityError, UsageError
from codefilter.paths import (
    atomic_folder,
    cache_path,
    data_path,
    disk_errors,
    exclusive,
    remove_leftovers,
    sha256_of_file,
)

Progress = Callable[[str, int, int], None]
"""Told what is going on, the bytes done and the bytes in all (0: not known)."""

OnBytes = Callable[[int], None]
"""Told how many bytes of one download are there."""

Role = Literal["train", "benchmark", "repoeval", "demo"]
"""What a package may be used for; of all but "train" nothing is learned."""

_PINNED = {
    "name": (r"[A-Za-z0-9][A-Za-z0-9._-]*", "the package's name on the index"),
    "version": (r"[A-Za-z0-9][A-Za-z0-9._+!]*", "a version"),
    "wheel": (r"[A-Za-z0-9][\w.]*(-[\w.+!]+){4,5}\.whl", "NAME-VERSION-PYTHON-ABI-PLATFORM.whl"),
    "sha256": (r"[0-9a-f]{64}", "64 lower-case hexadecimal digits"),
}  # and what it ought to be
OWN_MANIFEST = Path("data", "manifests", "corpora.toml")
_MANIFEST_HINT = (
    f"Write a file like {OWN_MANIFEST}: for each package a table [[package]] with name, version, wheel (its "
    'file), sha256, and role = "train".'
)
_ATTEMPTS = 3
_POLL_SECONDS = 0.2
_UNREACHABLE = re.compile(
    r"Retrying \(Retry|NewConnectionError|Failed to establish|Name or service not known"
)


@dataclass(frozen=True)
class PackagePin:
    """One package that serves as a repository, exactly as it was published."""

    name: str
    version: str
    wheel: str  # file name
    sha256: str  # of the wheel
    role: Role
    python_files: int = 0  # 0: not counted
    lines: int = 0
    nothing_before: str = ""  # day before which the index had no release of it; empty where not looked up

    @property
    def key(self) -> str:
        """Its name as an index compares names (PEP 503)."""
        return canonicalize_name(self.name)


def silent(what: str, done_bytes: int, total_bytes: int) -> None:
    """Report no progress."""


def load_corpora() -> tuple[PackagePin, ...]:
    """The packages of ``data/manifests/corpora.toml``, in its order."""
    return read_manifest(data_path() / "manifests" / OWN_MANIFEST.name)


def read_manifest(path: Path) -> tuple[PackagePin, ...]:
    """The packages of a manifest: TOML tables ``[[package]]`` with a `role`, or tables named like the role.

    Raises:
        UsageError: no such file, no TOML, no packages, two of one name, or one that is not pinned.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # also of texts and numbers that are no TOML
        raise UsageError(f"{path} cannot be read: {error}", hint=_MANIFEST_HINT) from error
    try:
        pins = [pin_package(entry) for table, entries in tables.items() for entry in _entries(table, entries)]
    except ValueError as error:
        raise UsageError(f"{path}: {error}", hint=_MANIFEST_HINT) from error
    if not pins:
        raise UsageError(f"{path} names no packages", hint=_MANIFEST_HINT)
    for known in ({pin.key for pin in pins}, {pin.sha256 for pin in pins}):
        if len(known) < len(pins):
            raise UsageError(
                f"{path} names a package twice", hint="Each name and each wheel may stand there once."
            )
    return tuple(pins)


def _entries(table: str, entries: object) -> list[dict[str, Any]]:
    """The packages of one list of tables, each with its role."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{table} is no list of packages")
    if table == "package":
        return entries
    if any(entry.get("role", table) != table for entry in entries):
        raise ValueError(f"a package under {table} has another role")
    return [{**entry, "role": table} for entry in entries]


def pin_package(entry: Mapping[str, Any]) -> PackagePin:
    """A package as a manifest or a dataset names it; `ValueError` says what of it is missing or wrong.

    Its name and that of its wheel become names of folders and files, so they may be nothing else.
    """
    label = entry.get("name", "a package")
    if unknown := sorted(set(entry) - {field.name for field in fields(PackagePin)}):
        raise ValueError(f"{label} has {unknown[0]!r}, which means nothing here")
    if missing := [name for name in ("name", "version", "wheel", "sha256", "role") if name not in entry]:
        raise ValueError(f"{label} has no {missing[0]}")
    pin = PackagePin(**entry)
    numbers = ("python_files", "lines")
    for name, value in asdict(pin).items():
        if type(value) is not (int if name in numbers else str):
            raise ValueError(f"{label}: {name} is {value!r}")
    if pin.role not in get_args(Role):
        raise ValueError(f"{label}: role is {pin.role!r}, none of {', '.join(get_args(Role))}")
    for name, (pattern, wanted) in _PINNED.items():
        if not re.fullmatch(pattern, getattr(pin, name), re.ASCII):
            raise ValueError(f"{label}: {name} is {getattr(pin, name)!r}, not {wanted}")
    of_wheel = pin.wheel.split("-")
    if (canonicalize_name(of_wheel[0]), of_wheel[1]) != (pin.key, pin.version):
        raise ValueError(f"{label}: {pin.wheel} is no wheel of {pin.name} {pin.version}")
    return pin


def fetch_package(pin: PackagePin, progress: Progress = silent) -> Path:
    """The package's source folder in the cache, fetched and unpacked on the first call.

    The folder is named like the package and holds its files; the wheel's metadata lies beside it.

    Raises:
        DownloadError: the index does not deliver the wheel.
        IntegrityError: the wheel has another sha256, or members that would land outside the folder.
    """
    home = package_folder(pin).parent
    if home.is_dir():  # then no lock is needed, which a cache that may only be read has no place for
        return package_folder(pin)
    with exclusive(home.name, on_wait=lambda: progress(f"waiting for another process: {pin.name}", 0, 0)):
        if not home.is_dir():
            remove_leftovers(home)
            label = f"{pin.name} {pin.version} from the package index"
            wheel = fetch_wheel(
                pin.wheel, pin.sha256, cache_path() / "downloads", lambda done: progress(label, done, 0)
            )
            with atomic_folder(home) as temporary:
                unpack_wheel(wheel, temporary / pin.name)
                for metadata in (temporary / pin.name).glob("*.dist-info"):
                    metadata.rename(temporary / metadata.name)
            wheel.unlink()
    return package_folder(pin)


def package_folder(pin: PackagePin) -> Path:
    """Where the package's sources are once they were fetched."""
    return cache_path() / "packages" / f"{pin.name}-{pin.version}-{pin.sha256[:12]}" / pin.name


def fetch_wheel(wheel: str, sha256: str, folder: Path, on_bytes: OnBytes = lambda _: None) -> Path:
    """A wheel of the package index, in `folder`, verified; one that lies there already is not fetched again.

    Two processes must not fetch the same wheel into the same folder at once: the caller holds a lock.

    Raises:
        DownloadError: pip is missing, or the index does not deliver the wheel.
        IntegrityError: what it delivers has another sha256.
    """
    target = folder / wheel
    if target.is_file() and sha256_of_file(target) == sha256:
        return target
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{wheel}.", suffix=".tmp") as temporary:
            fetched = download_wheel(wheel, Path(temporary), on_bytes)
            if sha256_of_file(fetched) != sha256:
                raise IntegrityError(
                    f"{wheel} does not have the promised sha256",
                    hint=f"Somebody replaced it, or a mirror is broken; it must have {sha256}.",
                )
            fetched.replace(target)
    return target


def download_wheel(wheel: str, folder: Path, on_bytes: OnBytes = lambda _: None) -> Path:
    """Let pip fetch one wheel into an empty folder, whatever platform the wheel is for; not yet verified.

    Raises:
        DownloadError: the index does not deliver it, after some attempts.
        OSError: the disk is full.
    """
    command = _pip_command(wheel, folder)
    for attempt in range(_ATTEMPTS):
        status, output = _run_watched(command, folder, on_bytes)
        if status == 0 and (folder / wheel).is_file():
            return folder / wheel
        if os.strerror(errno.ENOSPC) in output:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if attempt == _ATTEMPTS - 1 or "No matching distribution" in output:
            break
    raise DownloadError(
        f"cannot fetch {wheel}: {_reason(output)}",
        hint="Check the network and pip's settings (pip config list), then run the same command again.",
    )


@contextmanager
def wheel_member(wheel: Path, member: str) -> Iterator[IO[bytes]]:
    """One file inside a wheel, open for reading; `IntegrityError` where there is none."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
            yield file
    except (KeyError, zipfile.BadZipFile) as error:
        raise IntegrityError(
            f"{wheel.name} has no readable {member}", hint="Delete it and fetch it again."
        ) from error


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """Write a wheel's files into a new folder; nothing is written outside it, links are refused."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                path = PurePosixPath(info.filename.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or ":" in info.filename or _is_link(info):
                    raise IntegrityError(
                        f"{wheel.name} holds {info.filename!r}, which would land outside its folder",
                        hint="This wheel cannot be trusted; report it.",
                    )
                target = folder.joinpath(*path.parts)
                if info.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except zipfile.BadZipFile as error:
        raise IntegrityError(f"{wheel.name} is not a wheel", hint="Delete it and fetch it again.") from error


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def _pip_command(wheel: str, folder: Path) -> list[str]:
    """The pip call for one wheel; its own tags stand in for this machine's, as nothing is installed."""
    try:
        pip_version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        raise DownloadError(
            "this Python has no pip, which fetches from the package index",
            hint=f"Add it: {sys.executable} -m ensurepip",
        ) from None
    name, version, *_, python, abi, platform = wheel.removesuffix(".whl").split("-")
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    command += ["--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--ignore-requires-python"]
    if [int(number) for number in re.findall(r"\d+", pip_version)[:2]] >= [25, 1]:
        command += ["--resume-retries", "5"]
    if platform != "any":
        command += ["--implementation", python[:2], "--python-version", python[2:], "--abi", abi]
        for tag in platform.split("."):
            command += ["--platform", tag]
    return [*command, "--dest", str(folder), f"{name}=={version}"]


def _run_watched(command: list[str], folder: Path, on_bytes: OnBytes) -> tuple[int, str]:
    """Run pip with its temporary files in `folder`, and report how much of the download is there."""
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        errors="replace",
    ) as process:
        try:
            while True:
                try:
                    _, output = process.communicate(timeout=_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    on_bytes(_largest_file_bytes(folder))
                else:
                    return process.returncode, output
        except BaseException:
            process.terminate()
            raise


def _largest_file_bytes(folder: Path) -> int:
    sizes = [0]
    for parent, _, names in os.walk(folder):  # it passes over folders that pip deletes meanwhile
        for name in names:
            with contextlib.suppress(OSError):  # pip moved it meanwhile
                sizes.append((Path(parent) / name).stat().st_size)
    return max(sizes)


def _reason(pip_output: str) -> str:
    """What pip complains about, in one line."""
    if _UNREACHABLE.search(pip_output):
        return "the package index cannot be reached"
    complaints = [line for line in pip_output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in complaints if line.startswith("ERROR: ")]
    return (errors or complaints or ["pip gave no reason"])[-1].strip()

"""Where files live on this machine, and how they get there whole or not at all.

In: nothing but the environment. Out: the cache and data folders, atomic writes, file hashes, locks.
Notable: a hash is remembered with the file's size, time and inode, so that a model of a gigabyte is read
again only after it changed; every write goes to a temporary name beside its target and is renamed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs
from filelock import FileLock, Timeout

from codefilter.errors import CodeFilterError

CACHE_VARIABLE = "CODEFILTER_CACHE"
_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}


def cache_path() -> Path:
    """Folder for what can be fetched or computed again: ``CODEFILTER_CACHE``, or the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return expanded(chosen).absolute()
    return platformdirs.user_cache_path("codefilter", appauthor=False)


def private_cache_path(name: str) -> Path:
    """A folder of the cache for what is made of the user's own code: nobody else may look into it."""
    folder = cache_path() / name
    with suppress(OSError):  # whoever writes into it says what is wrong
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:  # made before, or by another umask
            folder.chmod(0o700)
    return folder


def data_path() -> Path:
    """Folder of the project's own data: inside the installed package, or ``data/`` of a checkout."""
    packaged = Path(__file__).parent / "_data"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "data"


def expanded(name: str) -> Path:
    """A path that somebody wrote, its ``~`` replaced; as it is where there is no such user."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def sha256_of_file(path: Path) -> str:
    """Sha256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """Like `sha256_of_file`, but computed again only when the file's size, time or inode changed."""
    path = path.resolve()
    status = path.stat()
    stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
    memory = cache_path() / "hashes" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    try:
        remembered = json.loads(memory.read_text(encoding="utf-8"))
        if remembered["stamp"] == stamp:
            return str(remembered["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing remembered, or nothing that can be used
    sha256 = sha256_of_file(path)
    with suppress(CodeFilterError):  # a cache that cannot be written to: hashed again the next time
        write_atomically(memory, json.dumps({"path": str(path), "stamp": stamp, "sha256": sha256}))
    return sha256


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file (text as UTF-8) or leave what was there; errors as in `atomic_file`."""
    with atomic_file(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside `path`, open for writing, that takes its name when the block ends well.

    Raises:
        CodeFilterError: the disk is full, or the place cannot be written to.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_beside(path)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that is appended to, without their ends; one that has no end yet is left out.

    Where there is no file there are no lines.
    """
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def cut_torn_line(path: Path) -> None:
    """Before the first append: take off what a kill left of a last line; errors as in `atomic_file`."""
    if path.exists() and (torn := path.read_bytes().rpartition(b"\n")[2]):
        with disk_errors(path):
            os.truncate(path, path.stat().st_size - len(torn))


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Like `atomic_file`, for a folder; one that is there already is replaced."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, replaced = _temporary_beside(path), _temporary_beside(path)
        try:
            temporary.mkdir()
            yield temporary
            if path.exists():
                path.rename(replaced)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Delete what a killed process left half-written beside `path`; call it only under a lock for `path`."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; files that vanish meanwhile do not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:
                continue
    return total


@contextmanager
def exclusive(
    name: str, on_wait: Callable[[], None] = lambda: None, *, folder: Path | None = None
) -> Iterator[None]:
    """Hold the lock of that name, the machine's or a folder's; `on_wait` is called once if another has it."""
    path = (folder or cache_path() / "locks") / f"{name}.lock"
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a place that cannot be written to into a `CodeFilterError` about `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in _OUT_OF_SPACE:
            hint = f"Free some space or choose another disk with {CACHE_VARIABLE}, then try again."
            raise CodeFilterError(f"no space left on the disk of {path}", hint=hint) from error
        if error.errno in _NOT_WRITABLE:
            hint = f"Mend its permissions, or choose another folder with {CACHE_VARIABLE}."
            raise CodeFilterError(
                f"cannot use {error.filename or path}: {error.strerror}", hint=hint
            ) from error
        raise


def _temporary_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")

"""File entries ↔ one SQLite file per repository, scope and chunker.

In: `FileEntry`s, written in transactions. Out: the same, when the repository is opened again. Every row
stands for itself and carries a checksum; there is no pickle, and nothing in the file is executed. Several
processes may write: rows of the same file replace each other, and each is right for the stamp and hash that
it carries. It is only a cache: what cannot be read is built anew, and what cannot be written costs time,
not correctness.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codefilter.chunking import ChunkDefinition
from codefilter.database import keep_log
from codefilter.errors import IndexStorageError
from codefilter.index.entry import FileEntry, FileStamp, Int32Array

FORMAT_VERSION = 3
APPLICATION_ID = 0x43464958  # "CFIX" in the file's header
_BUSY_TIMEOUT_SECONDS = 10.0

_SCHEMA = (
    "CREATE TABLE settings (value TEXT NOT NULL)",
    """CREATE TABLE files (
      path TEXT PRIMARY KEY, size_bytes INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, checksum INTEGER,
      language TEXT, content_hash TEXT, has_syntax_error INTEGER, is_encoding_guessed INTEGER,
      names TEXT, definitions TEXT, terms TEXT,
      spans BLOB, chunk_sizes BLOB, chunk_terms BLOB, chunk_counts BLOB, text BLOB)""",
)
_INSERT = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

# The file is there and may be sound, but this process cannot use it now.
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,  # what a full disk says, too
}


class _UnusableError(Exception):
    """The saved index must be built anew; the message says why."""


@dataclass(frozen=True)
class SavedIndex:
    """What `open_store` found."""

    store: IndexStore | None  # None: nothing can be saved
    entries: tuple[FileEntry, ...]
    rebuilt_because: str = ""  # why a saved index was thrown away
    not_saved_because: str = ""  # why there is no store


class IndexStore:
    """An open index file. One thread at a time."""

    def __init__(self, connection: sqlite3.Connection, file: Path, settings: str) -> None:
        self._connection = connection
        self._file = file
        self._settings = settings

    def write(self, entries: Iterable[FileEntry], removed: Iterable[str] = ()) -> None:
        """Save entries and forget removed paths, all or nothing.

        Raises:
            IndexStorageError: nothing was saved; what was there before still is.
        """
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                if _saved_settings(self._connection) != self._settings:
                    raise IndexStorageError(
                        f"the index {self._file} was taken over by another version, or with other settings",
                        hint="Start this program again, if CodeFilter was updated since.",
                    )
                self._connection.executemany(_INSERT, (_row(entry) for entry in entries))
                self._connection.executemany(
                    "DELETE FROM files WHERE path = ?", ((path,) for path in removed)
                )
        except sqlite3.Error as error:
            raise IndexStorageError(
                f"cannot save the index {self._file}: {error}",
                hint="Free some disk space, or set CODEFILTER_CACHE to a folder on another disk.",
            ) from error

    def close(self) -> None:
        """Close the file; the object cannot be used after it."""
        self._connection.close()


def open_store(file: Path, settings: str, *, rebuild: bool = False) -> SavedIndex:
    """Open or create the index file and read what it has.

    Args:
        file: where it is; folders are made.
        settings: everything but the files that an index depends on; another value means to build anew.
        rebuild: throw away what is there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection, entries, rebuilt_because = _open(file, settings, rebuild=rebuild)
        except (sqlite3.DatabaseError, ValueError) as error:  # ValueError: messages with broken names in them
            if _is_unavailable(error):
                raise
            _remove(file)
            connection, entries, _ = _open(file, settings)
            rebuilt_because = f"the saved index is damaged ({error})"
    except (OSError, sqlite3.Error) as error:
        entries = () if rebuild else _read_only_entries(file, settings)
        return SavedIndex(None, entries, not_saved_because=str(error))
    return SavedIndex(IndexStore(connection, file, settings), entries, rebuilt_because)


def _open(
    file: Path, settings: str, *, rebuild: bool = False
) -> tuple[sqlite3.Connection, tuple[FileEntry, ...], str]:
    """A connection to a sound index, its entries, and why it was emptied if it was."""
    connection = sqlite3.connect(
        file, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        keep_log(connection, _BUSY_TIMEOUT_SECONDS)
        with connection:
            connection.execute("BEGIN IMMEDIATE")  # of two processes that find it unfit, one empties it
            entries, unfit_because = _read_or_reset(connection, settings, rebuild=rebuild)
    except BaseException:
        connection.close()
        raise
    return connection, entries, unfit_because


def _read_or_reset(
    connection: sqlite3.Connection, settings: str, *, rebuild: bool
) -> tuple[tuple[FileEntry, ...], str]:
    """All entries; or none, and why, where the file had to be emptied."""
    unfit_because = ""
    if not rebuild:
        try:
            return _read(connection, settings), ""
        except _UnusableError as error:
            unfit_because = str(error)
        except (ValueError, TypeError) as error:  # bytes that are no text, text that is no JSON, ...
            unfit_because = f"the saved index is damaged ({error})"
    _reset(connection, settings)
    return (), unfit_because


def _read_only_entries(file: Path, settings: str) -> tuple[FileEntry, ...]:
    """What can be read of an index in a folder that cannot be written to, such as a shared cache."""
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        with closing(connection):
            return _read(connection, settings)
    except (sqlite3.Error, _UnusableError, ValueError, TypeError):
        return ()


def _is_unavailable(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _UNAVAILABLE and code != sqlite3.SQLITE_IOERR_SHORT_READ  # the file was cut short


def _read(connection: sqlite3.Connection, settings: str) -> tuple[FileEntry, ...]:
    """All entries.

    Raises:
        _UnusableError: new, foreign, of another version or settings, or damaged.
    """
    version, application = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
    )
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not tables:
        raise _UnusableError("")
    if application != APPLICATION_ID:
        raise _UnusableError("the file in the index's place was not written by CodeFilter")
    if version != FORMAT_VERSION:
        raise _UnusableError(f"the saved index has format {version}, this version uses {FORMAT_VERSION}")
    if _saved_settings(connection) != settings:
        raise _UnusableError("the saved index was made by another version or with other settings")
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise _UnusableError("the saved index is damaged")
    return tuple(_entry(*row) for row in connection.execute("SELECT * FROM files ORDER BY path"))


def _saved_settings(connection: sqlite3.Connection) -> str:
    """What the index was made with; empty where the file does not say."""
    (saved,) = connection.execute("SELECT value FROM settings").fetchone() or ("",)
    return str(saved)


def _reset(connection: sqlite3.Connection, settings: str) -> None:
    """Make the file an empty index; in place, since another process may have it open."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    for (table,) in tables.fetchall():
        connection.execute(f'DROP TABLE "{table}"')
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO settings VALUES (?)", (settings,))
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _row(entry: FileEntry) -> tuple[object, ...]:
    content = (
        entry.language,
        entry.content_hash,
        int(entry.has_syntax_error),
        int(entry.is_encoding_guessed),
        json.dumps(entry.names),
        json.dumps([astuple(definition) for definition in entry.definitions]),
        entry.terms,
        *(_bytes(array) for array in (entry.spans, entry.chunk_sizes, entry.chunk_terms, entry.chunk_counts)),
        entry.text,
    )
    return entry.path, *astuple(entry.stamp), _checksum(entry.path, *content), *content


def _entry(
    path: str, size_bytes: int, mtime_ns: int, ctime_ns: int, checksum: int, *content: Any
) -> FileEntry:
    """The inverse of `_row`; `_UnusableError` where the bytes are not those that were written."""
    if _checksum(path, *content) != checksum:
        raise _UnusableError(f"the saved index is damaged (at {path})")
    (
        language,
        content_hash,
        has_syntax_error,
        is_encoding_guessed,
        names,
        definitions,
        terms,
        *arrays,
        text,
    ) = content
    spans, chunk_sizes, chunk_terms, chunk_counts = map(_array, arrays)
    return FileEntry(
        path=path,
        language=language,
        content_hash=content_hash,
        stamp=FileStamp(size_bytes, mtime_ns, ctime_ns),
        has_syntax_error=bool(has_syntax_error),
        is_encoding_guessed=bool(is_encoding_guessed),
        text=text,
        spans=spans.reshape(-1, 4),
        names=tuple((symbol, scope) for symbol, scope in json.loads(names)),
        definitions=tuple(ChunkDefinition(*fields) for fields in json.loads(definitions)),
        terms=terms,
        chunk_sizes=chunk_sizes,
        chunk_terms=chunk_terms,
        chunk_counts=chunk_counts,
    )


def _checksum(*values: object) -> int:
    checksum = 0
    for value in values:
        checksum = zlib.crc32(value if isinstance(value, bytes) else f"{value}\0".encode(), checksum)
    return checksum


def _bytes(array: Int32Array) -> bytes:
    return array.astype("<i4").tobytes()


def _array(saved: bytes) -> Int32Array:
    return np.frombuffer(saved, "<i4").astype(np.int32, copy=False)

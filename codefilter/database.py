"""What all our SQLite files have in common: the index's, the feedback's.

In: an open connection. Out: one with a write-ahead log.
"""

from __future__ import annotations

import sqlite3
import time

_BUSY_PAUSE_SECONDS = 0.01


def keep_log(connection: sqlite3.Connection, timeout_seconds: float) -> None:
    """Give a database a write-ahead log: a commit does not wait for the disk, readers do not block writers.

    SQLite waits for others, but not to change what kind of log a file has: whoever else is just making the
    file, as another window of an editor may be, would be an error at once.

    Raises:
        sqlite3.Error: the file is no database, cannot be written to, or stayed busy.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE_SECONDS)
    connection.execute("PRAGMA synchronous = NORMAL")

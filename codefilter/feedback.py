"""What became of the completions that a person was shown: kept on this machine, deleted when they say so.

In: what an editor reports. Out: records, counts, and for training the places whose text is now known. One
SQLite file in the user's data folder, readable by the user alone; nothing here knows a network.

Notable: a record holds the lines around the cursor, not the file: enough to find the place again in the
repository (`find_place`), where the text that a person left standing there is the truth.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

import platformdirs

from codefilter.database import keep_log
from codefilter.errors import CodeFilterError
from codefilter.paths import disk_errors

LINES_AROUND = 10  # kept of the file, before and after the cursor
_MAX_RECORDS = 50_000
_PRUNE_EVERY = 500
_BUSY_TIMEOUT_SECONDS = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS completions (
  record_id TEXT PRIMARY KEY, time REAL NOT NULL, repository TEXT NOT NULL, path TEXT NOT NULL,
  language TEXT NOT NULL,
  before TEXT NOT NULL, after TEXT NOT NULL, text TEXT NOT NULL, outcome TEXT NOT NULL,
  accepted_characters INTEGER NOT NULL, final_text TEXT, model TEXT NOT NULL, filter TEXT NOT NULL,
  retrieved INTEGER NOT NULL, used INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_repository ON completions (repository, time);
PRAGMA user_version = 1;
"""


class Outcome(StrEnum):
    """What a person did with a text."""

    SHOWN = "shown"  # nothing is known yet
    ACCEPTED = "accepted"
    PARTLY_ACCEPTED = "partly accepted"
    REJECTED = "rejected"  # something else was typed
    EDITED = "edited"  # accepted, then changed


@dataclass(frozen=True)
class FeedbackRecord:
    """One text that was shown."""

    record_id: str
    time: float  # seconds since 1970
    repository: str  # its folder
    path: str
    language: str
    before: str  # the last lines before the cursor
    after: str  # the first lines after it
    text: str  # as it was shown
    outcome: Outcome
    accepted_characters: int
    final_text: str | None  # what stood in its place some time later; None: not known
    model: str
    filter: str
    retrieved: int  # chunks
    used: int  # of them in the prompt


def feedback_file() -> Path:
    """Where feedback is kept."""
    return platformdirs.user_data_path("codefilter", appauthor=False) / "feedback.sqlite3"


class FeedbackStore:
    """The records of one user. Not for several threads at once."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or create the file; `CodeFilterError` where it cannot be used."""
        self.path = path or feedback_file()
        with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.touch(mode=0o600)
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_TIMEOUT_SECONDS, check_same_thread=False
            )
            keep_log(self._connection, _BUSY_TIMEOUT_SECONDS)
            self._connection.executescript(_SCHEMA)
        self._added = 0

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def put(self, record: FeedbackRecord) -> None:
        """Add a record, or replace the one of the same id; the oldest go when there are too many."""
        values = [_storable(getattr(record, name)) for name in _FIELDS]
        marks = ", ".join("?" * len(values))
        with self._errors(), self._connection:
            self._connection.execute(f"INSERT OR REPLACE INTO completions VALUES ({marks})", values)
            self._added += 1
            if self._added % _PRUNE_EVERY == 0:
                newest = "SELECT record_id FROM completions ORDER BY time DESC LIMIT ?"
                self._connection.execute(
                    f"DELETE FROM completions WHERE record_id NOT IN ({newest})", (_MAX_RECORDS,)
                )

    def records(self, repository: str | None = None) -> Iterator[FeedbackRecord]:
        """All records, or those of one repository's folder, oldest first."""
        where, values = (
            ("WHERE repository = ?", [_storable(repository)]) if repository is not None else ("", [])
        )
        with self._errors(), closing(self._connection.cursor()) as cursor:
            for row in cursor.execute(f"SELECT * FROM completions {where} ORDER BY time", values):
                named = dict(zip(_FIELDS, row, strict=True))
                yield FeedbackRecord(**named | {"outcome": Outcome(named["outcome"])})

    def delete(self, *, repository: str | None = None, before: float | None = None) -> int:
        """Delete records for good, of a repository or from before a time, or all; how many there were."""
        conditions = {"repository = ?": repository, "time < ?": before}
        wanted = {text: _storable(value) for text, value in conditions.items() if value is not None}
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        with self._errors():
            with self._connection:
                count = self._connection.execute(
                    f"DELETE FROM completions {where}", [*wanted.values()]
                ).rowcount
            self._connection.execute("VACUUM")  # so that no text stays in free pages
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with disk_errors(self.path):
                yield
        except sqlite3.Error as error:
            raise CodeFilterError(
                f"the feedback in {self.path} cannot be used: {error}",
                hint="Delete the file, or switch feedback off in the editor's settings.",
            ) from error


@dataclass(frozen=True)
class FeedbackSummary:
    """Counts of records."""

    total: int
    outcomes: Mapping[Outcome, int]
    languages: Mapping[str, int]
    oldest: float | None  # seconds since 1970
    newest: float | None

    @property
    def acceptance_rate(self) -> float | None:
        """Share of what was accepted, wholly or in part; None where nothing was shown."""
        taken = sum(self.outcomes.get(o, 0) for o in Outcome if o not in (Outcome.SHOWN, Outcome.REJECTED))
        return taken / self.total if self.total else None


def summarize(store: FeedbackStore, repository: str | None = None) -> FeedbackSummary:
    """Count what a store holds."""
    outcomes: Counter[Outcome] = Counter()
    languages: Counter[str] = Counter()
    times: list[float] = []
    for record in store.records(repository):
        outcomes[record.outcome] += 1
        languages[record.language] += 1
        times.append(record.time)
    return FeedbackSummary(
        sum(outcomes.values()),
        dict(outcomes),
        dict(languages),
        min(times, default=None),
        max(times, default=None),
    )


def find_place(record: FeedbackRecord, file_text: str) -> tuple[int, int] | None:
    """Lines [start, end) where the text that a person left standing is in a file; None where it is not.

    The lines before the cursor must be there once; the final text counts, or the text as it was accepted.
    """
    kept = record.final_text
    if kept is None and record.outcome in (Outcome.ACCEPTED, Outcome.PARTLY_ACCEPTED):
        kept = record.text[: record.accepted_characters]
    if not kept or not kept.strip() or file_text.count(record.before + kept) != 1:
        return None
    start = file_text.index(record.before + kept) + len(record.before)
    end = start + len(kept.rstrip())
    first_line = kept[: len(kept) - len(kept.lstrip())].rfind("\n") + 1  # behind lines that were complete
    return file_text.count("\n", 0, start + first_line), file_text.count("\n", 0, end) + 1


def _storable(value: object) -> object:
    """Half a character, which an editor may send and SQLite does not take, becomes a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


_FIELDS = [part.name for part in fields(FeedbackRecord)]

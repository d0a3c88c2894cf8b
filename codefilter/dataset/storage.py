"""A dataset's folder: a journal in which nothing is lost, and the Parquet shards it is emptied into.

In: `ExampleRecord`s, one by one. Out: ``labels-NNNNN.parquet`` of `SHARD_EXAMPLES` examples each, in the
order in which they were made, ``journal.jsonl`` and ``dataset.json`` (what the labels were made with).
Notable: an example counts from the moment its line is on the disk (fsync). `seal` writes the journal's lines
into shards, atomically, and only then empties it; killed in between, an example stands in both and counts
once. A full shard is never written again, so a version control keeps it once.
"""

from __future__ import annotations

import json
import os
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from codefilter.dataset.records import ExampleRecord, from_json, to_json
from codefilter.errors import DatasetError, UsageError
from codefilter.labeling import LabelOptions
from codefilter.lm.base import ModelIdentity
from codefilter.paths import atomic_file, remove_leftovers, write_atomically
from codefilter.types import content_hash

SHARD_EXAMPLES = 200
SHARDS = "labels-*.parquet"
JOURNAL_FILE = "journal.jsonl"
DESCRIPTION_FILE = "dataset.json"
FORMAT = 1


@dataclass(frozen=True)
class Recipe:
    """What every label of a dataset was made with. Labels of another recipe do not belong to it."""

    model: ModelIdentity
    options: LabelOptions
    layout: str
    retriever: str
    chunker: str
    chunk_order: str
    num_candidates: int
    prefix_tokens: int
    suffix_tokens: int
    cross_file_tokens: int


@dataclass(frozen=True)
class SourceRecord:
    """One repository that was asked for."""

    name: str
    version: str
    sha256: str  # of a package's wheel; "" for a folder
    problem: str = ""  # why it gives no examples, or no more


@dataclass(frozen=True)
class RunRecord:
    """One slice of the work."""

    codefilter: str
    engine: str
    machine: str
    examples: int
    seconds: float


@dataclass(frozen=True)
class Description:
    """The contents of ``dataset.json``."""

    recipe: Recipe
    sources: tuple[SourceRecord, ...] = ()
    runs: tuple[RunRecord, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()  # (example, reason): asked for, but not to be labelled


class DatasetFolder:
    """The examples of one folder. One writer at a time (the caller holds a lock)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal = folder / JOURNAL_FILE
        self._done: set[str] = set()

    def open(self, recipe: Recipe) -> Description:
        """Begin or go on; a torn last line of the journal is removed.

        Raises:
            UsageError: the folder's labels were made with another recipe.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (DESCRIPTION_FILE, JOURNAL_FILE, SHARDS):
            remove_leftovers(self.folder / name)
        description = read_description(self.folder)
        if description is None:
            description = Description(recipe)
            self.describe(description)
        elif description.recipe != recipe:
            changed = [
                f"{f.name} {getattr(description.recipe, f.name)!r}, now {getattr(recipe, f.name)!r}"
                for f in fields(Recipe)
                if getattr(description.recipe, f.name) != getattr(recipe, f.name)
            ]
            raise UsageError(
                f"{self.folder} was labelled with {'; '.join(changed)}",
                hint="Give the same settings, or another --out folder.",
            )
        self._done = {example_id for shard in shards(self.folder) for example_id in _ids(shard)}
        self._done |= {record.example_id for record in self._read_journal()}
        self._done |= {example_id for example_id, _ in description.skipped}
        return description

    def __contains__(self, example_id: str) -> bool:
        return example_id in self._done

    def describe(self, description: Description) -> None:
        """Replace ``dataset.json``."""
        text = json.dumps({"format": FORMAT} | asdict(description), ensure_ascii=False, indent=1)
        write_atomically(self.folder / DESCRIPTION_FILE, text + "\n")

    def append(self, record: ExampleRecord) -> None:
        """Keep one example; when this returns it is on the disk."""
        line = json.dumps(to_json(record), ensure_ascii=False, separators=(",", ":")) + "\n"
        with self._journal.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._done.add(record.example_id)

    def seal(self) -> None:
        """Move what the journal holds into shards."""
        written = shards(self.folder)
        in_shards = {example_id for shard in written for example_id in _ids(shard)}
        waiting = {r.example_id: r for r in self._read_journal() if r.example_id not in in_shards}
        if waiting:
            number = max(len(written) - 1, 0)
            last = list(read_shard(written[-1])) if written else []
            if len(last) >= SHARD_EXAMPLES:
                number, last = number + 1, []
            records = [*last, *waiting.values()]
            for start in range(0, len(records), SHARD_EXAMPLES):
                path = self.folder / f"labels-{number + start // SHARD_EXAMPLES:05}.parquet"
                write_shard(path, records[start : start + SHARD_EXAMPLES])
        write_atomically(self._journal, b"")

    def _read_journal(self) -> Iterator[ExampleRecord]:
        if not self._journal.exists():
            return
        whole = self._journal.read_bytes()
        complete = whole[: whole.rfind(b"\n") + 1]
        if complete != whole:  # a kill cut the last line off
            write_atomically(self._journal, complete)
        yield from _parse_lines(complete, self._journal)


def _parse_lines(content: bytes, path: Path) -> Iterator[ExampleRecord]:
    for number, line in enumerate(content.decode("utf-8").split("\n")[:-1], start=1):
        try:
            yield from_json(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{path}, line {number} is not an example: {error}",
                hint="Delete that line; its task is labelled again.",
            ) from error


def read_examples(folder: Path) -> Iterator[ExampleRecord]:
    """All examples of a dataset, every one once, in the order in which they were made.

    Raises:
        DatasetError: there is no dataset, or it cannot be read.
    """
    if not folder.is_dir() or not (shards(folder) or (folder / JOURNAL_FILE).exists()):
        raise DatasetError(f"{folder} holds no dataset", hint="Make one: codefilter dataset build --out DIR")
    seen: set[str] = set()
    for shard in shards(folder):
        for record in read_shard(shard):
            seen.add(record.example_id)
            yield record
    journal = folder / JOURNAL_FILE
    content = journal.read_bytes() if journal.exists() else b""
    for record in _parse_lines(content[: content.rfind(b"\n") + 1], journal):
        if record.example_id not in seen:
            yield record


def num_examples(folder: Path) -> int:
    """How many examples a dataset holds; 0 where there is none yet."""
    begun = shards(folder) or (folder / JOURNAL_FILE).exists()
    return sum(1 for _ in read_examples(folder)) if begun else 0


def read_description(folder: Path) -> Description | None:
    """What a dataset was made with; None where there is none."""
    path = folder / DESCRIPTION_FILE
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise DatasetError(f"{path} is of another format", hint="Use the version that made it.")
        recipe = values["recipe"]
        recipe |= {"model": ModelIdentity(**recipe["model"]), "options": LabelOptions(**recipe["options"])}
        return Description(
            Recipe(**recipe),
            tuple(SourceRecord(**source) for source in values["sources"]),
            tuple(RunRecord(**run) for run in values["runs"]),
            tuple((example_id, reason) for example_id, reason in values["skipped"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", hint="Restore it from a copy.") from error


def with_source(description: Description, source: SourceRecord) -> Description:
    """The description with one source added or replaced."""
    others = tuple(other for other in description.sources if other.name != source.name)
    return replace(description, sources=(*others, source))


def refuse_existing(folder: Path) -> None:
    """`UsageError` where a folder already holds a dataset."""
    if read_description(folder) is not None:
        raise UsageError(f"{folder} already holds a dataset", hint="Leave out --no-resume to go on with it.")


def lock_name(folder: Path) -> str:
    """The name of the lock that one writer of a dataset holds."""
    return f"dataset-{folder.name}-{content_hash(str(folder.resolve()))[:12]}"


def shards(folder: Path) -> list[Path]:
    """The Parquet files of a dataset, in order."""
    return sorted(folder.glob(SHARDS))


def write_shard(path: Path, records: Sequence[ExampleRecord]) -> None:
    """Write one Parquet file, whole or not at all."""
    table = pa.Table.from_pylist([to_json(record) for record in records], schema=SCHEMA)
    with atomic_file(path) as file:
        pq.write_table(table, file, compression="zstd", compression_level=19)


def read_shard(path: Path) -> Iterator[ExampleRecord]:
    """The examples of one Parquet file; `DatasetError` where it is not one of a dataset."""
    try:
        rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read: {error}", hint="Restore it from a copy.") from error
    return (from_json(row) for row in rows)


def _ids(path: Path) -> list[str]:
    try:
        column: list[str] = pq.read_table(path, columns=["example_id"])["example_id"].to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read: {error}", hint="Restore it from a copy.") from error
    return column


_PLAIN: Mapping[Any, pa.DataType] = types.MappingProxyType(
    {int: pa.int32(), float: pa.float32(), str: pa.string()}
)


def _arrow_type(hint: Any) -> pa.DataType:
    """The Arrow type of a record's field: records are structs, tuples are lists."""
    if get_origin(hint) is tuple:
        return pa.list_(_arrow_type(get_args(hint)[0]))
    if is_dataclass(hint):
        return pa.struct(_arrow_fields(hint))
    return _PLAIN[hint]


def _arrow_fields(record: Any) -> list[pa.Field]:
    hints = get_type_hints(record)
    return [pa.field(f.name, _arrow_type(hints[f.name]), nullable=False) for f in fields(record)]


SCHEMA = pa.schema(_arrow_fields(ExampleRecord))

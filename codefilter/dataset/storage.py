"""A dataset's folder: a journal in which nothing is lost, and the Parquet shards it is emptied into.

In: `ExampleRecord`s, one by one. Out: ``labels-NNNNN.parquet`` of `SHARD_EXAMPLES` examples each, in the
order in which they were made, ``journal.jsonl`` and ``dataset.json`` (what the labels were made with); on
request the hidden states of each (`states`).
Notable: an example counts from the moment its line is on the disk (fsync). `seal` writes the journal's lines
into shards, atomically, and only then empties it; killed in between, an example stands in both and counts
once. A full shard is never written again, so a version control keeps it once.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from codefilter.dataset.description import (
    DESCRIPTION_FILE,
    Description,
    Recipe,
    comes_again,
    read_description,
    write_description,
)
from codefilter.dataset.exclusions import read_exclusions
from codefilter.dataset.parquet import example_ids, read_shard, write_shard
from codefilter.dataset.records import ExampleRecord, from_json, to_json
from codefilter.dataset.states import ExampleStates, remove_torn_states, states_path, write_states
from codefilter.errors import DatasetError, UsageError
from codefilter.paths import cut_torn_line, remove_leftovers, whole_lines, write_atomically
from codefilter.types import Chunk, SourceFile, content_hash

SHARD_EXAMPLES = 200
SHARDS = "labels-*.parquet"
JOURNAL_FILE = "journal.jsonl"


@dataclass(frozen=True)
class LabelledFile:
    """What labels name of one file; the sets grow while labels are read."""

    hashes: set[str] = field(default_factory=set)  # of the whole text, where a place in it is labelled
    chunks: set[tuple[int, int, str]] = field(default_factory=set)  # (first line, line after the last, id)

    def is_in(self, source: SourceFile) -> bool:
        """Whether all of it can be found in the file as it is now."""
        if self.hashes - {source.content_hash}:
            return False
        lines = source.text.split("\n")
        return all(
            Chunk(source.path, "\n".join(lines[start:end]), start, end, source.language).chunk_id == chunk_id
            for start, end, chunk_id in self.chunks
        )


class DatasetFolder:
    """The examples of one folder. One writer at a time (the caller holds a lock)."""

    def __init__(self, folder: Path, *, keep_states: bool = False) -> None:
        """With `keep_states` an example counts only with its hidden states; without them it is made again."""
        self.folder = folder
        self._journal = folder / JOURNAL_FILE
        self._keep_states = keep_states
        self._labelled: set[str] = set()
        self._chunks_without_states: dict[str, tuple[str, ...]] = {}
        self._done: set[str] = set()

    def open(self, recipe: Recipe) -> Description:
        """Begin or go on; a torn last line of the journal is removed.

        Raises:
            UsageError: the folder's labels were made with another recipe.
            DatasetError: it has labels, but nothing says what they were made with.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (DESCRIPTION_FILE, JOURNAL_FILE, SHARDS):
            remove_leftovers(self.folder / name)
        remove_torn_states(self.folder)
        description = read_description(self.folder)
        if description is None:
            if has_labels(self.folder):
                raise DatasetError(
                    f"{self.folder} has labels, but no {DESCRIPTION_FILE} that says what they were made with",
                    hint="Restore that file from a copy, or give another --out folder.",
                )
            description = Description(recipe)
            self.describe(description)
        else:
            refuse_other_recipe(self.folder, description.recipe, recipe)
        cut_torn_line(self._journal)
        self._labelled = {example_id for shard in shards(self.folder) for example_id in example_ids(shard)}
        journal = _parse_lines(whole_lines(self._journal), self._journal)
        self._labelled |= {record.example_id for record in journal}
        self._done = {example_id for example_id, reason in description.skipped if not comes_again(reason)}
        self._done |= {name for name in self._labelled if self._has_what_is_kept(name)}
        if self._labelled - self._done:
            examples = read_examples(self.folder, with_excluded=True)
            self._chunks_without_states = {
                r.example_id: r.chunk_ids for r in examples if r.example_id not in self._done
            }
        return description

    def __contains__(self, example_id: str) -> bool:
        return example_id in self._done

    def labelled_files(self) -> dict[str, dict[str, LabelledFile]]:
        """Repository → path → what labels name of it: places, retrieved chunks, controls."""
        files: dict[str, dict[str, LabelledFile]] = defaultdict(lambda: defaultdict(LabelledFile))
        if self._labelled:
            for record in read_examples(self.folder, with_excluded=True):
                files[record.repository][record.path].hashes.add(record.file_sha256)
                for chunk in (*record.chunks, *record.controls):
                    place = (chunk.start_line, chunk.end_line, chunk.chunk_id)
                    files[chunk.repository][chunk.path].chunks.add(place)
        return files

    def describe(self, description: Description) -> None:
        """Replace ``dataset.json``."""
        write_description(self.folder, description)

    def append(self, record: ExampleRecord, states: ExampleStates | None = None) -> None:
        """Keep one example; when this returns it is on the disk.

        States come first, so that what is in the journal has them. An example that was labelled before and
        had no states only gets those: its numbers are what they were.

        Raises:
            UsageError: those states are of other chunks or controls than its numbers.
        """
        if states is not None:
            earlier = self._chunks_without_states.get(record.example_id)
            if earlier not in (None, record.chunk_ids):
                raise UsageError(
                    f"{record.example_id} has other chunks or controls now than when it was labelled",
                    hint="Name the same repositories as then: controls are drawn from all of them.",
                )
            write_states(self.folder, record.example_id, states)
        if record.example_id not in self._labelled:
            self._append_to_journal(record)
            self._labelled.add(record.example_id)
        self._done.add(record.example_id)

    def _has_what_is_kept(self, example_id: str) -> bool:
        return not self._keep_states or states_path(self.folder, example_id).exists()

    def _append_to_journal(self, record: ExampleRecord) -> None:
        line = json.dumps(to_json(record), ensure_ascii=False, separators=(",", ":")) + "\n"
        with self._journal.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def seal(self) -> None:
        """Move what the journal holds into shards."""
        written = shards(self.folder)
        in_shards = {example_id for shard in written for example_id in example_ids(shard)}
        journal = _parse_lines(whole_lines(self._journal), self._journal)
        waiting = {r.example_id: r for r in journal if r.example_id not in in_shards}
        if waiting:
            number = int(written[-1].stem.rpartition("-")[2]) if written else 0
            last = list(read_shard(written[-1])) if written else []
            if len(last) >= SHARD_EXAMPLES:
                number, last = number + 1, []
            records = [*last, *waiting.values()]
            for start in range(0, len(records), SHARD_EXAMPLES):
                path = self.folder / f"labels-{number + start // SHARD_EXAMPLES:05}.parquet"
                write_shard(path, records[start : start + SHARD_EXAMPLES])
        write_atomically(self._journal, b"")


def _parse_lines(lines: Sequence[bytes], path: Path) -> Iterator[ExampleRecord]:
    for number, line in enumerate(lines, start=1):
        try:
            yield from_json(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{path}, line {number} is not an example: {error}",
                hint="Delete that line; its task is labelled again.",
            ) from error


def read_examples(folder: Path, *, with_excluded: bool = False) -> Iterator[ExampleRecord]:
    """All examples of a dataset but those left out, every one once, in the order in which they were made.

    Raises:
        DatasetError: there is no dataset, or it cannot be read.
    """
    if not folder.is_dir() or not (shards(folder) or (folder / JOURNAL_FILE).exists()):
        raise DatasetError(f"{folder} holds no dataset", hint="Make one: codefilter dataset build --out DIR")
    exclusions = [] if with_excluded else read_exclusions(folder)
    seen = {exclusion.example_id for exclusion in exclusions}
    journal = folder / JOURNAL_FILE
    lines = whole_lines(journal)  # first: `seal` moves them into shards
    for shard in shards(folder):
        for record in read_shard(shard):
            if record.example_id not in seen:
                seen.add(record.example_id)
                yield record
    for record in _parse_lines(lines, journal):
        if record.example_id not in seen:
            yield record


def num_examples(folder: Path) -> int:
    """How many examples a dataset holds; 0 where there is none yet."""
    begun = shards(folder) or (folder / JOURNAL_FILE).exists()
    return sum(1 for _ in read_examples(folder)) if begun else 0


def has_labels(folder: Path) -> bool:
    """Whether there are labels, in shards or in the journal."""
    journal = folder / JOURNAL_FILE
    return bool(shards(folder)) or (journal.exists() and journal.stat().st_size > 0)


def refuse_existing(folder: Path) -> None:
    """`UsageError` where a folder already holds a dataset."""
    if read_description(folder) is not None or has_labels(folder):
        raise UsageError(f"{folder} already holds a dataset", hint="Leave out --no-resume to go on with it.")


def refuse_other_recipe(folder: Path, made: Recipe, now: Recipe) -> None:
    """`UsageError` where a folder's labels were made with another recipe than the present one."""
    changed = [
        f"{f.name} {getattr(made, f.name)!r}, now {getattr(now, f.name)!r}"
        for f in fields(Recipe)
        if getattr(made, f.name) != getattr(now, f.name)
    ]
    if changed:
        raise UsageError(
            f"{folder} was labelled with {'; '.join(changed)}",
            hint="Give the same settings, or another --out folder.",
        )


def lock_name(folder: Path) -> str:
    """The name of the lock that one writer of a dataset holds."""
    return f"dataset-{folder.name}-{content_hash(str(folder.resolve()))[:12]}"


def shards(folder: Path) -> list[Path]:
    """The Parquet files of a dataset, in order."""
    return sorted(folder.glob(SHARDS))

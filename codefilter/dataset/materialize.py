"""References → examples with their text, every hash checked.

In: `ExampleRecord`s and the repositories that they name. Out: `TextExample`s, in memory for training, or as
Parquet beside nothing that is published: the text is other people's code.
Notable: a reference names a whole file's hash, the target's and every chunk's; text that is not exactly what
was labelled is an error, never a guess.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from codefilter.chunking import chunk_file
from codefilter.dataset.description import require_description
from codefilter.dataset.parquet import SCHEMA
from codefilter.dataset.records import ChunkRecord, ExampleRecord, repositories_of, to_json
from codefilter.dataset.sources import find_roots
from codefilter.dataset.split import PARTS
from codefilter.errors import DatasetError, UsageError
from codefilter.paths import atomic_file, atomic_folder, write_atomically
from codefilter.source import Skipped, read_source
from codefilter.tasks import LineSpan, make_task
from codefilter.types import Chunk, CompletionTask, SourceFile, TaskLevel, content_hash

TEXT_SHARD_EXAMPLES = 500
IGNORE_FILE, _IGNORE_ALL = ".gitignore", "*\n"  # the text must not be committed
_SHARD_NAME = re.compile(rf"({'|'.join(PARTS)})-\d{{5}}\.parquet")


@dataclass(frozen=True)
class TextExample:
    """A labelled task with all its text."""

    record: ExampleRecord
    task: CompletionTask
    chunks: tuple[Chunk, ...]  # as `record.chunks`
    controls: tuple[Chunk, ...]  # as `record.controls`


class Materializer:
    """Finds the text of references; files of the last repositories stay in memory."""

    def __init__(self, roots: Mapping[str, Path], chunker: str = "syntax") -> None:
        """`roots` by repository name; `chunker` as the labels were made with, for symbols and scopes."""
        self.roots = roots
        self._chunker = chunker
        self._source = lru_cache(maxsize=512)(self._read)
        self._chunks = lru_cache(maxsize=512)(self._cut)

    def materialize(self, record: ExampleRecord) -> TextExample:
        """One example with its text.

        Raises:
            DatasetError: a repository is not here, or a text is not what was labelled.
        """
        source = self._source(record.repository, record.path)
        self._check(content_hash(source.text) == record.file_sha256, record.example_id, record.path)
        span = LineSpan(record.start_line, record.end_line)
        task = make_task(record.repository, record.version, source, span, TaskLevel(record.level))
        self._check(content_hash(task.target) == record.target_sha256, record.example_id, "its target")
        chunks = tuple(self._chunk(record, chunk) for chunk in record.chunks)
        return TextExample(
            record, task, chunks, tuple(self._chunk(record, chunk) for chunk in record.controls)
        )

    def _chunk(self, record: ExampleRecord, reference: ChunkRecord) -> Chunk:
        span = (reference.start_line, reference.end_line)
        known = self._chunks(reference.repository, reference.path).get(span)
        if known is None:  # a control takes as many lines as it needs
            source = self._source(reference.repository, reference.path)
            text = "\n".join(source.text.split("\n")[slice(*span)])
            known = Chunk(reference.path, text, *span, reference.language)
        self._check(known.chunk_id == reference.chunk_id, record.example_id, f"a chunk of {reference.path}")
        return known

    def _read(self, repository: str, path: str) -> SourceFile:
        if repository not in self.roots:
            raise DatasetError(
                f"the labels need {repository}, which is not among the repositories given",
                hint="Name the folder that it was labelled from.",
            )
        source = read_source(self.roots[repository], path)
        if isinstance(source, Skipped):
            raise DatasetError(
                f"{repository}/{path} cannot be read: {source.reason}",
                hint="The repository must be exactly as it was labelled.",
            )
        return source

    def _cut(self, repository: str, path: str) -> dict[tuple[int, int], Chunk]:
        chunks = chunk_file(self._source(repository, path), self._chunker).chunks
        return {(chunk.start_line, chunk.end_line): chunk for chunk in chunks}

    @staticmethod
    def _check(is_same: bool, example_id: str, what: str) -> None:
        if not is_same:
            raise DatasetError(
                f"{example_id}: {what} is not the text that was labelled",
                hint="The repository must be exactly as it was labelled: same version, no changes.",
            )


def open_materializer(
    folder: Path, repositories: Sequence[str], records: Iterable[ExampleRecord]
) -> Materializer:
    """A materializer for examples of a dataset; packages that they need are fetched.

    Args:
        folder: of the dataset.
        repositories: folders that it was labelled from and that are no packages.
        records: of the examples.
    """
    description = require_description(folder)
    roots = find_roots(description, repositories, repositories_of(records))
    return Materializer(roots, description.recipe.chunker)


def write_text(examples: Iterable[TextExample], folder: Path, parts: Mapping[str, str]) -> dict[str, int]:
    """Write examples as Parquet, ``PART-NNNNN.parquet``, which `datasets.load_dataset` takes for its splits.

    The folder is replaced whole, so that an example stands in one part only, or stays as it is.

    Args:
        examples: in any order.
        folder: where to; not to be published.
        parts: repository → part ("train", "validation", "test"); "train" where it is not named.

    Returns:
        How many examples each part has.

    Raises:
        UsageError: the folder holds something else.
        DatasetError: a text is not what was labelled.
    """
    folder = folder.resolve()
    _refuse_other_files(folder)
    waiting: dict[str, list[TextExample]] = defaultdict(list)
    written: dict[str, int] = defaultdict(int)
    with atomic_folder(folder) as temporary:
        write_atomically(temporary / IGNORE_FILE, _IGNORE_ALL)

        def empty(part: str) -> None:
            number = written[part] // TEXT_SHARD_EXAMPLES
            _write(temporary / f"{part}-{number:05}.parquet", waiting[part])
            written[part] += len(waiting[part])
            waiting[part].clear()

        for example in examples:
            part = parts.get(example.record.repository, "train")
            waiting[part].append(example)
            if len(waiting[part]) == TEXT_SHARD_EXAMPLES:
                empty(part)
        for part in [part for part, rest in waiting.items() if rest]:
            empty(part)
    return dict(written)


def _refuse_other_files(folder: Path) -> None:
    """`UsageError` for a folder that `write_text` would not have left like this."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="Name a folder after --out.")
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        is_ours = _SHARD_NAME.fullmatch(path.name) or (
            path.name == IGNORE_FILE and path.read_bytes() == _IGNORE_ALL.encode()
        )
        if not is_ours:
            raise UsageError(
                f"{folder} holds {path.name}, and would be replaced", hint="Name another folder after --out."
            )


_TEXT_FIELDS = [
    pa.field("prefix", pa.string(), nullable=False),
    pa.field("target", pa.string(), nullable=False),
    pa.field("suffix", pa.string(), nullable=False),
    pa.field("chunk_texts", pa.list_(pa.string()), nullable=False),
    pa.field("chunk_symbols", pa.list_(pa.string()), nullable=False),
    pa.field("control_texts", pa.list_(pa.string()), nullable=False),
]
TEXT_SCHEMA = pa.schema([*SCHEMA, *_TEXT_FIELDS])


def _write(path: Path, examples: Sequence[TextExample]) -> None:
    rows = [
        to_json(example.record)
        | {
            "prefix": example.task.request.prefix,
            "target": example.task.target,
            "suffix": example.task.request.suffix,
            "chunk_texts": [chunk.text for chunk in example.chunks],
            "chunk_symbols": [chunk.symbol for chunk in example.chunks],
            "control_texts": [chunk.text for chunk in example.controls],
        }
        for example in examples
    ]
    with atomic_file(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=TEXT_SCHEMA), file, compression="zstd")

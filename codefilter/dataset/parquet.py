"""Records ↔ Parquet: one row per example, chunks and per-token values as lists of structs.

In: `ExampleRecord`s. Out: files that pandas, polars and `datasets.load_dataset` read. The schema is made from
the records' own types, so it cannot differ from them.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from codefilter.dataset.records import ExampleRecord, from_json, to_json
from codefilter.errors import DatasetError
from codefilter.paths import atomic_file


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


def example_ids(path: Path) -> list[str]:
    """The examples of one Parquet file by name, without reading the rest of it."""
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

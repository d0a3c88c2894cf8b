"""Paths → file entries, on all cores.

In: an `IndexSpec` and paths. Out: per path a `FileEntry`, or why there is none, as they are ready. Few files
are read in this process, because starting workers takes longer.

Notable: a parser is native code, and a file that makes it crash must not end an editor's server. So what a
worker died of is tried again file by file, and the file that another worker dies of is left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from codefilter.index.entry import FileEntry, FileStamp, make_entry
from codefilter.index.spec import IndexSpec
from codefilter.index.workers import Death, Workers
from codefilter.source import Skipped, SkipReason, read_source

_BATCH_FILES = 32
_MIN_FILES_FOR_WORKERS = 200
_MAX_WORKERS = 16  # each holds about 100 MB
_CLOCK_TICK_NS = 100_000_000  # coarser than the clocks of file systems


@dataclass(frozen=True)
class Wanted:
    """A file to read."""

    path: str
    known_hash: str = ""  # of the entry that the index has; the same text is not cut again


@dataclass(frozen=True)
class Unchanged:
    """A file whose text is what the index knows, under a new stamp."""

    path: str
    stamp: FileStamp


ReadResult: TypeAlias = FileEntry | Unchanged | Skipped


def read_file(spec: IndexSpec, wanted: Wanted) -> ReadResult:
    """Read and cut one file. The stamp is taken before, so that a change in between is seen later."""
    stamp = file_stamp(spec.root / wanted.path)
    source = read_source(spec.root, wanted.path)
    if isinstance(source, Skipped):
        return source
    if source.content_hash == wanted.known_hash:
        return Unchanged(wanted.path, stamp)
    return make_entry(source, stamp, spec, is_encoding_guessed=source.is_encoding_guessed)


def file_stamp(file: Path) -> FileStamp:
    """Size and times of a file; of a file that vanished, a stamp that equals no other.

    A file younger than a clock tick may change again without a new time: its time is not trusted.
    """
    try:
        status = file.stat()
    except OSError:
        return FileStamp(-1, -1, -1)
    is_settled = abs(time.time_ns() - status.st_mtime_ns) > _CLOCK_TICK_NS
    return FileStamp(status.st_size, status.st_mtime_ns if is_settled else -1, status.st_ctime_ns)


def default_workers() -> int:
    """One worker per core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MAX_WORKERS)


def read_files(
    spec: IndexSpec, wanted: Sequence[Wanted], workers: int, on_death: Callable[[str], None]
) -> Iterator[list[ReadResult]]:
    """Read files in batches, in the order in which they are ready.

    Args:
        spec: how files are cut.
        wanted: what to read.
        workers: how many processes; with one, it is this.
        on_death: is told how a worker ended that was not meant to; the others go on.

    Raises:
        WorkersEndedError: workers could not start or died; files that did not come were not read.
    """
    batches = [wanted[start : start + _BATCH_FILES] for start in range(0, len(wanted), _BATCH_FILES)]
    if workers <= 1 or len(wanted) < _MIN_FILES_FOR_WORKERS:
        yield from map(partial(_read_batch, spec), batches)
        return
    pool = Workers[Sequence[Wanted], list[ReadResult]](partial(_read_batch, spec), workers)
    pool.add(batches)
    for results in pool.results():
        if not isinstance(results, Death):
            yield results
            continue
        on_death(results.how)
        if len(results.task) > 1:
            pool.add([one] for one in results.task)
        else:
            yield [Skipped(one.path, SkipReason.CRASHED) for one in results.task]


def _read_batch(spec: IndexSpec, batch: Sequence[Wanted]) -> list[ReadResult]:
    return [read_file(spec, wanted) for wanted in batch]

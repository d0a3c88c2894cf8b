"""Paths → file entries, on all cores.

In: an `IndexSpec` and paths. Out: per path a `FileEntry`, or why there is none, as they are ready. Workers
are fresh interpreters ("spawn"), because forking a process that has threads or a model loaded is not safe;
few files are read in this process, because starting workers takes longer.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from codefilter.index.entry import FileEntry, FileStamp, make_entry
from codefilter.index.spec import IndexSpec
from codefilter.source import Skipped, read_source

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
    """Size and time of a file; of a file that vanished, a stamp that equals no other.

    A file younger than a clock tick may change again without a new time: its time is not trusted.
    """
    try:
        status = file.stat()
    except OSError:
        return FileStamp(-1, -1)
    is_settled = abs(time.time_ns() - status.st_mtime_ns) > _CLOCK_TICK_NS
    return FileStamp(status.st_size, status.st_mtime_ns if is_settled else -1)


def default_workers() -> int:
    """One worker per core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MAX_WORKERS)


def read_files(spec: IndexSpec, wanted: Sequence[Wanted], workers: int) -> Iterator[list[ReadResult]]:
    """Read files in batches, in the order in which they are ready.

    Raises:
        BrokenProcessPool: workers could not start or were killed; files that did not come were not read.
    """
    batches = [wanted[start : start + _BATCH_FILES] for start in range(0, len(wanted), _BATCH_FILES)]
    if workers <= 1 or len(wanted) < _MIN_FILES_FOR_WORKERS:
        yield from map(partial(_read_batch, spec), batches)
        return
    try:
        executor = ProcessPoolExecutor(
            min(workers, len(batches)), multiprocessing.get_context("spawn"), initializer=_start_worker
        )
    except (OSError, NotImplementedError) as error:  # no semaphores on this machine
        raise BrokenProcessPool(str(error)) from error
    try:
        for future in as_completed([executor.submit(_read_batch, spec, batch) for batch in batches]):
            yield future.result()
    finally:
        executor.shutdown(cancel_futures=True)


def _read_batch(spec: IndexSpec, batch: Sequence[Wanted]) -> list[ReadResult]:
    return [read_file(spec, wanted) for wanted in batch]


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""How long it takes to index a repository, open it again, follow a change and answer a query.

In: a folder with source files, and how large a repository to make of it. Out: an `IndexingTiming` per size.
Larger repositories are copies of the folder in which a third of the longer names are changed, so that the
vocabulary grows as well. Baseline of the queries: `rank_bm25.BM25Okapi` over the same chunks and terms.
Building and using an index are measured in processes of their own, so that memory is told apart.
"""

from __future__ import annotations

import multiprocessing
import random
import re
import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rank_bm25 import BM25Okapi

from codefilter.errors import UsageError
from codefilter.index import RepositoryIndex
from codefilter.index.build import default_workers
from codefilter.index.terms import terms
from codefilter.languages import language_of
from codefilter.retrieval.base import RetrievalQuery
from codefilter.retrieval.query import query_text
from codefilter.retrieval.table import get_retriever
from codefilter.source import scan
from codefilter.speed.spread import Spread
from codefilter.types import CompletionRequest

MEASURED_RETRIEVERS = ("bm25", "jaccard", "definitions", "hybrid")
_IN_FILE_LINES = 60  # before the hole; what the prompt would show
_NUM_CANDIDATES = 30  # as the default filter is offered

_LONG_NAME = re.compile(rb"\b[A-Za-z_]\w{3,}\b")


@dataclass(frozen=True)
class IndexingTiming:
    """What one size of repository takes."""

    num_files: int
    num_lines: int
    num_chunks: int
    num_terms: int  # distinct
    num_workers: int
    build_seconds: float  # nothing saved
    build_peak_megabytes: float  # this process and all workers, at their highest together
    open_seconds: float  # all saved, nothing changed
    saved_megabytes: float
    change: Spread  # one file changed on disk: read, cut, saved and put in place
    save_to_searchable: Spread  # the same, and the first BM25 query after it
    queries: dict[str, Spread]  # by retriever
    use_peak_megabytes: float  # of a process that opens the index, searches and changes it
    baseline_query: Spread  # rank_bm25
    bm25_speedup: float  # median of the baseline / median of bm25


def measure_indexing(
    folder: Path, target_lines: Sequence[int] = (0,), num_places: int = 100, num_baseline_queries: int = 5
) -> list[IndexingTiming]:
    """Measure repositories of several sizes.

    Args:
        folder: where the source files are.
        target_lines: the sizes; the folder is repeated until it has so many lines; 0: as it is.
        num_places: places to query at, and files to change.
        num_baseline_queries: fewer, since each takes seconds.
    """
    timings = []
    for lines in target_lines:
        with tempfile.TemporaryDirectory() as workspace:
            root, cache = Path(workspace) / "repository", Path(workspace) / "cache"
            write_repository(folder, root, lines)
            with ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), max_tasks_per_child=1
            ) as new_process:
                built = new_process.submit(_measure_build, root, cache).result()
                measure = new_process.submit(
                    _measure_use, root, cache, built, num_places, num_baseline_queries
                )
                timings.append(measure.result())
    return timings


def write_repository(folder: Path, root: Path, target_lines: int = 0) -> None:
    """Copy the source files of a folder, again and again under new names until there are enough lines.

    Raises:
        UsageError: there are none to copy.
    """
    texts = {path: (folder / path).read_bytes() for path in scan(folder).files}
    if not any(b"\n" in text for text in texts.values()):
        raise UsageError(f"{folder} has no lines of source", hint="Name a folder with source files.")
    num_lines = copy = 0
    while copy == 0 or num_lines < target_lines:
        for path, text in texts.items():
            if copy and num_lines >= target_lines:
                break
            file = root / f"copy{copy}" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_rename(text, copy))
            num_lines += text.count(b"\n")
        copy += 1


def _rename(text: bytes, copy: int) -> bytes:
    """Change a third of the longer names, the same in all files of a copy; the first copy stays."""
    if copy == 0:
        return text
    suffix = b"_%d" % copy
    return _LONG_NAME.sub(
        lambda name: name[0] + suffix if zlib.crc32(name[0] + suffix) % 3 == 0 else name[0], text
    )


@dataclass(frozen=True)
class _Built:
    seconds: float
    peak_megabytes: float
    num_workers: int


def _measure_build(root: Path, cache: Path) -> _Built:
    workers = default_workers()
    started = time.perf_counter()
    with RepositoryIndex.open(root, cache_dir=cache, workers=workers):
        seconds = time.perf_counter() - started
    own, largest_child = _peak_megabytes()
    return _Built(seconds, own + workers * largest_child, workers)


def _measure_use(
    root: Path, cache: Path, built: _Built, num_places: int, num_baseline_queries: int
) -> IndexingTiming:
    started = time.perf_counter()
    index = RepositoryIndex.open(root, cache_dir=cache)
    open_seconds = time.perf_counter() - started
    generator = random.Random(0)
    places = list(_places(index, generator, num_places))
    queries = {
        name: _spread(partial(get_retriever(name, index).retrieve, k=_NUM_CANDIDATES), places)
        for name in MEASURED_RETRIEVERS
    }
    paths = generator.sample(index.paths, min(num_places, len(index.paths)))
    search = partial(get_retriever("bm25", index).retrieve, k=_NUM_CANDIDATES)
    changes, searchable = zip(
        *(_follow_change(index, path, places[0], search) for path in paths), strict=True
    )
    peak_megabytes, _ = _peak_megabytes()  # before the baseline, which needs much more
    num_chunks, num_terms = index.snapshot.num_chunks, int((index.snapshot.document_frequency > 0).sum())

    baseline = BM25Okapi([terms(chunk.text) for chunk in index.chunks()])
    baseline_query = _spread(
        lambda place: baseline.get_scores(terms(query_text(place.request))), places[:num_baseline_queries]
    )
    return IndexingTiming(
        num_files=index.report.num_files,
        num_lines=index.report.num_lines,
        num_chunks=num_chunks,
        num_terms=num_terms,
        num_workers=built.num_workers,
        build_seconds=built.seconds,
        build_peak_megabytes=built.peak_megabytes,
        open_seconds=open_seconds,
        saved_megabytes=sum(file.stat().st_size for file in cache.iterdir()) / 1e6,
        change=Spread.of(changes),
        save_to_searchable=Spread.of(searchable),
        queries=queries,
        use_peak_megabytes=peak_megabytes,
        baseline_query=baseline_query,
        bm25_speedup=baseline_query.median_seconds / queries["bm25"].median_seconds,
    )


def _follow_change(
    index: RepositoryIndex, path: str, place: RetrievalQuery, search: Callable[[RetrievalQuery], object]
) -> tuple[float, float]:
    """Change a file on disk; seconds until the index has it, and until a query that sees it is answered."""
    with (index.root / path).open("a", encoding="utf-8") as file:
        file.write("\n\ndef changed_on_disk(value):\n    return value\n")
    started = time.perf_counter()
    index.update_file(path)
    updated = time.perf_counter()
    search(place)
    return updated - started, time.perf_counter() - started


def _places(index: RepositoryIndex, generator: random.Random, num_places: int) -> Iterator[RetrievalQuery]:
    """Holes at random places of random files."""
    for _ in range(num_places):
        path = generator.choice(index.paths)
        text = index.file_text(path)
        place = generator.randrange(len(text))
        request = CompletionRequest(path, text[:place], text[place:], language_of(path, text))
        hole = text.count("\n", 0, place)
        yield RetrievalQuery(request, max(0, hole - _IN_FILE_LINES))


def _spread(work: Callable[[RetrievalQuery], object], places: Iterable[RetrievalQuery]) -> Spread:
    """Time the work at every place."""
    seconds = []
    for place in places:
        started = time.perf_counter()
        work(place)
        seconds.append(time.perf_counter() - started)
    return Spread.of(seconds)


def _peak_megabytes() -> tuple[float, float]:
    """Highest memory so far of this process, and of its largest finished child."""
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    own, child = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own * unit / 1e6, child * unit / 1e6

"""A repository's index: opened in a moment, kept fresh while files change.

In: a folder. Out: a `Snapshot` to search in, and an `IndexReport` for people. Everything that is searched
is in memory; the disk only saves the work of reading and cutting files again. So an index that cannot be
saved still works, and says why it is not saved.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from codefilter.chunking import ChunkOptions
from codefilter.errors import IndexStorageError, SourceError
from codefilter.index.build import (
    ReadResult,
    Unchanged,
    Wanted,
    default_workers,
    file_stamp,
    read_file,
    read_files,
)
from codefilter.index.entry import FileEntry, FileStamp, make_entry
from codefilter.index.postings import IndexedFile, Segment, Snapshot, Vocabulary
from codefilter.index.report import IndexReport, language_shares
from codefilter.index.spec import IndexSpec
from codefilter.index.store import SavedIndex, open_store
from codefilter.index.workers import WorkersEndedError
from codefilter.languages import language_of
from codefilter.paths import private_cache_path
from codefilter.source import ScanReport, Skipped, SkipReason, scan, skip_reason, text_reason
from codefilter.types import Chunk, SourceFile, content_hash

Progress = Callable[[int, int], None]  # files done, files to do

_DEFAULT_OPTIONS = ChunkOptions()
_FORGOTTEN_TERMS = 1_000  # so many are not worth the work
_EDITOR_STAMP = FileStamp(-1, -1, -1)  # equals no file's
# What an editor's text makes up for: the file is not saved yet.
_ONLY_ON_DISK = (None, SkipReason.UNREADABLE, SkipReason.EMPTY)


class RepositoryIndex:
    """The index of one repository. `open` it; all methods may be called from any thread."""

    def __init__(self, spec: IndexSpec, saved: SavedIndex) -> None:
        """Use `open`."""
        self.spec = spec
        self._lock = threading.RLock()
        self._vocabulary = Vocabulary()
        self._files: dict[str, IndexedFile] = {}
        self._in_editor: set[str] = set()  # paths whose text is an editor's, not the disk's
        self._main: Segment | None = None
        self._store = saved.store
        self._rebuilt_because = saved.rebuilt_because
        self._notices: list[str] = []
        if saved.not_saved_because:
            self._notices.append(f"the index is not saved: {saved.not_saved_because}")
        for entry in saved.entries:
            self._put(entry)

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        scope: str | None = None,
        chunker: str = "syntax",
        options: ChunkOptions = _DEFAULT_OPTIONS,
        cache_dir: Path | None = None,
        rebuild: bool = False,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Open the saved index and read what changed since, or build it.

        Args:
            root: the repository's folder; all paths are relative to it.
            scope: index only this folder below `root`.
            chunker: how files are cut, a name of `codefilter.chunking`.
            options: sizes of chunks.
            cache_dir: the folder for saved indexes; by default in the user's cache.
            rebuild: throw away the saved index.
            workers: processes to read files with; by default one per core. They import the main module again,
                so a script that calls this needs the usual `if __name__ == "__main__"`.
            progress: called with the number of files done and the number of files to do.

        Raises:
            SourceError: the folder has no source files.
            UsageError: there is no such folder, scope or chunker.
        """
        spec = IndexSpec.checked(root, scope, chunker, options)
        folder = cache_dir if cache_dir is not None else private_cache_path("index")
        index = cls(spec, open_store(folder / spec.file_name, spec.settings, rebuild=rebuild))
        try:
            report = index.refresh(workers=workers, progress=progress)
        except BaseException:
            index.close()
            raise
        if not report.num_files:
            index.close()
            raise SourceError(
                f"no source files in {spec.root / (spec.scope or '')}",
                hint="Check the folder, the scope, and what .gitignore leaves out.",
            )
        return index

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop saving; what is in memory can still be searched."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    @property
    def root(self) -> Path:
        """The repository's folder, absolute."""
        return self.spec.root

    @property
    def snapshot(self) -> Snapshot:
        """The present state, which never changes: take it once per query."""
        return self._snapshot

    @property
    def report(self) -> IndexReport:
        """What the last `open` or `refresh` found."""
        return self._report

    @property
    def paths(self) -> list[str]:
        """All files, sorted."""
        return sorted(self._files)

    def file_text(self, path: str) -> str:
        """A file's text as it was indexed.

        Raises:
            SourceError: the index does not have the file.
        """
        file = self._files.get(path)
        if file is None:
            raise SourceError(
                f"{path} is not in the index", hint="Check the path and what .gitignore leaves out."
            )
        return file.entry.decoded_text()

    def chunk(self, slot: int) -> Chunk:
        """The chunk of a slot of the present snapshot."""
        return self._snapshot.chunk(slot)

    def chunks(self) -> Iterator[Chunk]:
        """All chunks, by path and place in the file."""
        snapshot = self._snapshot
        for path in self.paths:
            yield from map(snapshot.chunk, snapshot.slots_of(path))

    def refresh(self, *, workers: int | None = None, progress: Progress | None = None) -> IndexReport:
        """Compare all files with the disk and read what changed.

        The texts of editors stay, unless their files are to be left out by now.
        """
        with self._lock:
            started = time.perf_counter()
            self._in_editor = {path for path in self._in_editor if self._skip_reason(path) in _ONLY_ON_DISK}
            found = scan(self.root, scope=self.spec.scope)
            on_disk = [path for path in found.files if path not in self._in_editor]
            gone = self._files.keys() - set(on_disk) - self._in_editor
            self._forget(gone)
            wanted = [Wanted(path, self._known_hash(path)) for path in on_disk if not self._is_current(path)]
            skipped: list[Skipped] = []
            num_read = num_done = 0
            for results in self._read_all(wanted, workers or default_workers()):
                skipped += self._take(results)
                num_read += sum(isinstance(result, FileEntry) for result in results)
                num_done += len(results)
                if progress is not None:
                    progress(num_done, len(wanted))
            self._publish()
            self._report = self._make_report(
                found.after_reading(skipped), num_read, len(gone), time.perf_counter() - started
            )
            return self._report

    def update_file(self, path: str, text: str | None = None) -> bool:
        """Bring one file up to date; a query after it sees the new text. Whether it is another than before.

        A file that a scan would leave out (ignored, secret, outside the scope) is left out here too, and a
        text that is too large.

        Args:
            path: relative to the root.
            text: what an open editor shows; it counts instead of the disk's text, unsaved, until the next
                call without a text. None: as it is on the disk, or gone.
        """
        with self._lock:
            before = self._known_hash(path)
            if self._is_left_out(path, text):
                self.remove_file(path)
                return before != ""
            if text is not None:
                self._in_editor.add(path)
                file = SourceFile(path, text, language_of(path, text), content_hash(text))
                self._put(make_entry(file, _EDITOR_STAMP, self.spec))
            else:
                self._in_editor.discard(path)
                self._take([read_file(self.spec, Wanted(path, before))])
            self._publish()
            return self._known_hash(path) != before

    def remove_file(self, path: str) -> None:
        """Take a file out of the index; one that is still on the disk comes back with `refresh`."""
        with self._lock:
            self._in_editor.discard(path)
            self._forget([path])
            self._publish()

    def _is_left_out(self, path: str, text: str | None) -> bool:
        if text is None:
            return self._skip_reason(path) is not None
        if text_reason(path, text) not in _ONLY_ON_DISK:
            return True
        return path not in self._in_editor and self._skip_reason(path) not in _ONLY_ON_DISK

    def _skip_reason(self, path: str) -> SkipReason | None:
        if self.spec.scope is not None and not path.startswith(f"{self.spec.scope}/"):
            return SkipReason.FOLDER
        return skip_reason(self.root, path)

    def _read_all(self, wanted: Sequence[Wanted], workers: int) -> Iterator[list[ReadResult]]:
        """Read files with workers and, where those cannot be had, without."""
        missing = {one.path: one for one in wanted}
        deaths: list[str] = []
        try:
            for results in read_files(self.spec, wanted, workers, deaths.append):
                for result in results:
                    del missing[result.path]
                yield results
        except WorkersEndedError as error:
            self._notices.append(f"files were read by one process, since its workers ended: {error}")
            yield from read_files(self.spec, list(missing.values()), 1, deaths.append)
        else:
            self._notices += [f"{how} while it read files; others read them again" for how in {*deaths}]

    def _is_current(self, path: str) -> bool:
        file = self._files.get(path)
        return file is not None and file.entry.stamp.is_same(file_stamp(self.root / path))

    def _known_hash(self, path: str) -> str:
        file = self._files.get(path)
        return file.entry.content_hash if file is not None else ""

    def _take(self, results: Iterable[ReadResult]) -> list[Skipped]:
        """Put what was read into the index and on the disk, and return what was skipped."""
        entries: list[FileEntry] = []
        skipped: list[Skipped] = []
        for result in results:
            if isinstance(result, Skipped):
                skipped.append(result)
            elif isinstance(result, Unchanged):
                entries.append(replace(self._files[result.path].entry, stamp=result.stamp))
            else:
                entries.append(result)
        self._save(entries)
        for entry in entries:
            self._put(entry)
        self._forget(file.path for file in skipped)
        return skipped

    def _put(self, entry: FileEntry) -> None:
        self._files[entry.path] = IndexedFile(entry, self._vocabulary.intern(entry.terms))

    def _forget(self, paths: Iterable[str]) -> None:
        removed = [path for path in paths if self._files.pop(path, None) is not None]
        self._save([], removed)

    def _save(self, entries: Sequence[FileEntry], removed: Sequence[str] = ()) -> None:
        """Save if possible; after a failure nothing more is, and the next `open` reads what is missing."""
        if self._store is not None and (entries or removed):
            try:
                self._store.write(entries, removed)
            except IndexStorageError as error:
                self._notices.append(f"the index is not saved any more: {error.message}")
                self.close()

    def _publish(self) -> None:
        self._snapshot = Snapshot(self._files, self._vocabulary, self._main)
        if self._snapshot.num_forgotten_terms > len(self._vocabulary) // 2 + _FORGOTTEN_TERMS:
            self._vocabulary = Vocabulary()  # without every word that somebody had half typed
            for file in list(self._files.values()):
                self._put(file.entry)
            self._snapshot = Snapshot(self._files, self._vocabulary, None)
        self._main = self._snapshot.main

    def _make_report(
        self, sources: ScanReport, num_read: int, num_removed: int, seconds: float
    ) -> IndexReport:
        entries = [file.entry for file in self._files.values()]
        return IndexReport(
            languages=language_shares(entries),
            skipped=sources.skipped,
            skipped_examples=sources.examples,
            num_syntax_errors=sum(entry.has_syntax_error for entry in entries),
            num_guessed_encodings=sum(entry.is_encoding_guessed for entry in entries),
            num_read=num_read,
            num_removed=num_removed,
            seconds=seconds,
            rebuilt_because=self._rebuilt_because,
            notices=tuple(self._notices),
        )

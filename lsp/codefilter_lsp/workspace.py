"""What the server knows of files: folders with their indexes, open documents.

In: documents, folders and file events, from the server's event loop. Out: indexes that follow.

Notable: indexes are opened and updated in a thread of their own, which may take a minute; the model runs in
another (`answering`). So completions go on, without other files or with what the index knew before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from codefilter.config import Settings
from codefilter.errors import SourceError, UsageError
from codefilter.index import RepositoryIndex
from codefilter.source import is_skipped_folder
from codefilter_lsp.background import Background, Editor
from codefilter_lsp.documents import Documents
from codefilter_lsp.folders import Changes, Folder
from codefilter_lsp.positions import with_plain_line_ends
from codefilter_lsp.settings import EditorOptions, folder_settings, in_one_line

UPDATE_DELAY_SECONDS = 0.3
_GIT_CHECK_SECONDS = 2.0

P = ParamSpec("P")
T = TypeVar("T")


class Workspace:
    """Folders and open documents. For the event loop's thread only."""

    def __init__(self, editor: Editor, background: Background) -> None:
        self.documents = Documents()
        self.options = EditorOptions()
        self._options_by_root: Mapping[Path, EditorOptions] = {}
        self._editor = editor
        self._background = background
        self._folders: dict[Path, Folder] = {}
        self._outside = Folder(None, Settings())
        self._index_thread = ThreadPoolExecutor(1, "codefilter-index")
        self._git_checked = 0.0

    def __iter__(self) -> Iterator[Folder]:
        return iter([*self._folders.values(), self._outside])

    @property
    def roots(self) -> list[Path]:
        """The editor's folders."""
        return list(self._folders)

    def configure(self, options: EditorOptions, by_root: Mapping[Path, EditorOptions] | None = None) -> None:
        """Take the editor's options, at the start or later; some count in one folder only."""
        self.options = options
        self._options_by_root = by_root or {}
        for one in (options, *self._options_by_root.values()):
            for problem in one.problems:
                self._editor.tell(problem)
        for folder in self:
            self._configure_folder(folder)

    def _configure_folder(self, folder: Folder) -> None:
        options = self.options
        if folder.root is not None:
            options = self._options_by_root.get(folder.root, options)
        found = folder_settings(folder.root, options)
        for problem in found.problems:
            self._editor.tell(problem)
        folder.settings, folder.options = found.settings, options
        if folder.chunker not in (None, folder.settings.chunker) and not folder.is_opening:
            self._drop_index(folder)
            self.open_indexes()

    def _drop_index(self, folder: Folder) -> None:
        if folder.index is not None:
            if not self._background.stopping.cancelled:
                self._index_thread.submit(folder.index.close)
            folder.index = None

    def add_folder(self, root: Path) -> None:
        """Know a folder; its index is opened when its settings are known."""
        if root not in self._folders:
            self._folders[root] = Folder(root, Settings())
            self._configure_folder(self._folders[root])

    def open_indexes(self) -> None:
        """Open the indexes of all folders that have none, in the background."""
        for folder in self._folders.values():
            if folder.index is None and not folder.is_opening:
                folder.is_opening = True
                self._background.start(f"indexing {folder.root}", self._open_index, folder)

    def remove_folder(self, root: Path) -> None:
        """Forget a folder and its index; one that is being opened is closed by `_open_index`."""
        if (folder := self._folders.pop(root, None)) is not None:
            folder.stopping.cancel()
            self._drop_index(folder)

    def folder_of(self, path: Path | None) -> Folder:
        """The innermost folder that holds a file; for what is no file yet, the only folder that there is."""
        if path is None and len(self._folders) == 1:
            return next(iter(self._folders.values()))
        for parent in path.parents if path is not None else ():
            if parent in self._folders:
                return self._folders[parent]
        return self._outside

    def _folders_with(self, path: Path) -> Iterator[Folder]:
        """All folders whose indexes may have a file; a folder may lie inside another."""
        return (folder for root, folder in self._folders.items() if root in path.parents)

    def document_changed(self, path: Path | None, text: str | None) -> None:
        """A document now has this text, or that of its file (None). The index follows a moment later."""
        if path is None:
            return
        plain = with_plain_line_ends(text) if text is not None else None
        for folder in self._folders_with(path):
            relative = folder.real_relative(path)
            if plain is not None:
                folder.note_change(relative)
            self._changes_of(folder).documents[relative] = plain

    def files_changed(self, paths: Iterable[Path]) -> None:
        """Files were created, changed or deleted; what the editor has open counts as the editor has it.

        What git and other tools do in folders of their own, all the time, is none of our business.
        """
        opened = {
            (folder, folder.real_relative(document.path))
            for document in self.documents
            if document.path is not None
            for folder in self._folders_with(document.path)
        }
        for path in paths:
            for folder in self._folders_with(path):
                relative = folder.relative(path)  # a link that came or went is judged itself
                if (folder, relative) in opened or any(map(is_skipped_folder, relative.split("/"))):
                    continue
                self._changes_of(folder).files.add(relative)

    def look_for_other_commit(self) -> None:
        """Notice a switch of branches in editors that do not watch files."""
        if time.monotonic() < self._git_checked + _GIT_CHECK_SECONDS:
            return
        self._git_checked = time.monotonic()
        moved = [root for root, folder in self._folders.items() if folder.has_other_commit()]
        for root, folder in self._folders.items():
            if any(one.is_relative_to(root) for one in moved):  # a folder may lie inside another
                self._changes_of(folder).everything = True
                folder.note_change()

    def abandon(self) -> None:
        """Let the thread end soon."""
        for folder in self:
            folder.stopping.cancel()
        self._index_thread.shutdown(wait=False, cancel_futures=True)

    def _changes_of(self, folder: Folder) -> Changes:
        """Where to note what changed in a folder; the first note sets the clock."""
        if not folder.changes:
            what = f"updating the index of {folder.root}"
            loop = asyncio.get_running_loop()
            loop.call_later(UPDATE_DELAY_SECONDS, self._background.start, what, self._apply_changes, folder)
        return folder.changes

    async def _open_index(self, folder: Folder) -> None:
        assert folder.root is not None
        folder.is_opening = True
        folder.chunker = folder.settings.chunker
        try:
            async with self._editor.show_progress(f"Indexing {folder.root.name}") as report:

                def on_progress(done: int, total: int) -> None:
                    folder.stopping.raise_if_cancelled()
                    report(f"{done} of {total} files", 100 * done // max(1, total))

                folder.index = await self._in_index_thread(
                    RepositoryIndex.open, folder.root, chunker=folder.chunker, progress=on_progress
                )
        except Exception as error:
            folder.changes = Changes()  # the next one sets the clock, and it is tried again
            if not isinstance(error, SourceError | UsageError):
                raise
            self._editor.log(in_one_line(error))  # a new project has no first file yet, or no folder
            return
        finally:
            folder.is_opening = False
        if folder.stopping.cancelled:
            self._drop_index(folder)
            return
        if folder.chunker != folder.settings.chunker:  # changed meanwhile
            self._drop_index(folder)
            await self._open_index(folder)
            return
        for document in self.documents:  # their unsaved text is not on disk
            if document.path is not None and folder.root in document.path.parents:
                path = folder.real_relative(document.path)
                folder.changes.documents[path] = with_plain_line_ends(document.text)
        folder.note_change()
        await self._apply_changes(folder)

    async def _apply_changes(self, folder: Folder) -> None:
        if folder.stopping.cancelled:
            return
        if folder.index is not None:
            changes, folder.changes = folder.changes, Changes()
            changed = await self._in_index_thread(changes.apply, folder.index, folder.stopping)
            for path in changed:
                folder.note_change(path)  # what was answered before did not know it yet
        elif not folder.is_opening:  # `_open_index` comes here when it is done
            await self._open_index(folder)

    async def _in_index_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._background.stopping.raise_if_cancelled()  # the thread takes nothing more
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._index_thread, partial(work, *args, **kwargs))

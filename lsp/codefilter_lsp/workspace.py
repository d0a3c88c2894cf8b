"""What the server knows: folders with their indexes, the model, open documents.

In: documents, folders and file events, from the server's event loop. Out: completions.

Notable: two threads. One opens and updates indexes, which may take a minute; the other loads and runs the
model. So completions go on, without other files or with what the index knew before, while files are read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from codefilter.config import Settings
from codefilter.errors import CancelledError, CodeFilterError, SourceError
from codefilter.index import RepositoryIndex
from codefilter.lm.base import Cancellation
from codefilter.types import Completion
from codefilter_lsp.documents import Document, Documents
from codefilter_lsp.folders import Changes, Folder, Models
from codefilter_lsp.positions import with_plain_line_ends
from codefilter_lsp.progress import Report
from codefilter_lsp.scheduling import NewestWins
from codefilter_lsp.settings import EditorOptions, folder_settings, in_one_line

_log = logging.getLogger(__name__)

UPDATE_DELAY_SECONDS = 0.3

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")


class Editor(Protocol):
    """What the workspace may say to the editor. For the event loop's thread only."""

    def tell(self, message: str) -> None:
        """Show the user a message; the same message only once."""

    def log(self, message: str) -> None:
        """Write to the editor's log of this server."""

    def show_progress(self, title: str) -> AbstractAsyncContextManager[Report]:
        """Show progress while a block runs."""


class Workspace:
    """Folders, open documents and the two threads. For the event loop's thread only."""

    def __init__(self, editor: Editor) -> None:
        self.documents = Documents()
        self._editor = editor
        self._options = EditorOptions()
        self._folders: dict[Path, Folder] = {}
        self._outside = Folder(None, Settings())
        self._models = Models()
        self._model_thread = ThreadPoolExecutor(1, "codefilter-model")
        self._index_thread = ThreadPoolExecutor(1, "codefilter-index")
        self._requests = NewestWins(self._model_thread)
        self._stopping = Cancellation()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_warm = False

    def configure(self, options: EditorOptions) -> None:
        """Take the editor's options, before the first folder."""
        self._options = options
        self._outside = self._new_folder(None)
        for problem in options.problems:
            self._editor.tell(problem)

    def add_folder(self, root: Path) -> None:
        """Open a folder's index in the background."""
        if root not in self._folders:
            self._folders[root] = self._new_folder(root)
            self._start(f"indexing {root}", self._open_index, self._folders[root])

    def remove_folder(self, root: Path) -> None:
        """Forget a folder and its index."""
        folder = self._folders.pop(root, None)
        if folder is not None and folder.index is not None:
            self._index_thread.submit(folder.index.close)

    def warm_up(self, document: Document) -> None:
        """Load the model in the background, once, when the first document is opened."""
        if not self._is_warm:
            self._is_warm = True
            settings = self._folder_of(document.path).settings
            self._start(f"loading {settings.model}", self._load_model, settings)

    def document_changed(self, path: Path | None, text: str | None) -> None:
        """A document now has this text, or that of its file (None). The index follows a moment later."""
        folder = self._folder_of(path)
        if path is not None and folder.root is not None:
            changes = self._changes_of(folder)
            changes.documents[folder.relative(path)] = None if text is None else with_plain_line_ends(text)

    def files_changed(self, paths: Iterable[Path]) -> None:
        """Files were created, changed or deleted; what the editor has open counts as the editor has it."""
        for path in paths:
            folder = self._folder_of(path)
            if folder.root is not None and not self.documents.is_open(path):
                self._changes_of(folder).files.add(folder.relative(path))

    async def complete(self, document: Document, offset: int, kind: str) -> Completion | None:
        """Complete the place at an offset in code points; None, with a logged reason, where that fails.

        A newer request of the same kind for the same document cancels this one.
        """
        folder = self._folder_of(document.path)
        request = folder.make_request(document, offset)
        line = request.prefix.count("\n") + 1
        place = f"{request.path}:{line}"
        if folder.root is not None and folder.index is None:
            self._editor.log(f"{place}: the index is not there yet, so nothing of other files is used")
        started = time.perf_counter()
        try:
            completion = await self._requests.run(
                (document.uri, kind), partial(folder.complete, self._models, request)
            )
        except Exception as error:
            self._report(error, place)
            return None
        self._editor.log(f"{place}: {_summary(completion)}, {time.perf_counter() - started:.2f} s")
        return completion if completion.text.strip() else None

    async def stop(self) -> None:
        """End what runs in the background, and say so while the editor listens."""
        self.abandon()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def abandon(self) -> None:
        """Let the threads end soon."""
        self._stopping.cancel()
        self._index_thread.shutdown(wait=False, cancel_futures=True)
        self._model_thread.shutdown(wait=False, cancel_futures=True)

    def _new_folder(self, root: Path | None) -> Folder:
        found = folder_settings(root, self._options)
        for problem in found.problems:
            self._editor.tell(problem)
        return Folder(root, found.settings)

    def _folder_of(self, path: Path | None) -> Folder:
        """The innermost folder that holds a file."""
        for parent in path.parents if path is not None else ():
            if parent in self._folders:
                return self._folders[parent]
        return self._outside

    def _changes_of(self, folder: Folder) -> Changes:
        """Where to note what changed in a folder; the first note sets the clock."""
        if not folder.changes:
            what = f"updating the index of {folder.root}"
            loop = asyncio.get_running_loop()
            loop.call_later(UPDATE_DELAY_SECONDS, self._start, what, self._apply_changes, folder)
        return folder.changes

    async def _open_index(self, folder: Folder) -> None:
        assert folder.root is not None
        folder.is_opening = True
        try:
            async with self._editor.show_progress(f"Indexing {folder.root.name}") as report:

                def on_progress(done: int, total: int) -> None:
                    self._stopping.raise_if_cancelled()
                    report(f"{done} of {total} files", 100 * done // max(1, total))

                folder.index = await self._in_index_thread(
                    RepositoryIndex.open, folder.root, chunker=folder.settings.chunker, progress=on_progress
                )
        except SourceError as error:  # an empty project: tried again with its first file
            folder.changes = Changes()
            self._editor.log(in_one_line(error))
            return
        finally:
            folder.is_opening = False
        for document in self.documents:  # their unsaved text is not on disk
            if document.path is not None and self._folder_of(document.path) is folder:
                folder.changes.documents[folder.relative(document.path)] = with_plain_line_ends(document.text)
        await self._apply_changes(folder)

    async def _apply_changes(self, folder: Folder) -> None:
        if folder.index is not None:
            changes, folder.changes = folder.changes, Changes()
            await self._in_index_thread(changes.apply, folder.index, self._stopping)
        elif not folder.is_opening:  # `_open_index` comes here when it is done
            await self._open_index(folder)

    async def _load_model(self, settings: Settings) -> None:
        async with self._editor.show_progress(f"Loading {settings.model}"):
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._model_thread, self._models.get, settings)

    async def _in_index_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._index_thread, partial(work, *args, **kwargs))

    def _start(self, what: str, work: Callable[[A], Coroutine[Any, Any, None]], argument: A) -> None:
        """Run something in the background; its failure is reported."""
        if self._stopping.cancelled:
            return

        async def guarded() -> None:
            try:
                await work(argument)
            except Exception as error:
                self._report(error, what)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)

    def _report(self, error: Exception, what: str) -> None:
        if isinstance(error, CancelledError):
            return
        if isinstance(error, CodeFilterError):
            self._editor.log(f"{what}: {in_one_line(error)}")
            self._editor.tell(f"CodeFilter: {in_one_line(error)}")
        else:
            _log.error("%s failed", what, exc_info=error)
            self._editor.log(f"{what}: {type(error).__name__}: {error} (this is a bug)")


def _summary(completion: Completion) -> str:
    """What people ask for when they see nothing, or something odd."""
    text = f"{len(completion.text)} characters" if completion.text.strip() else "nothing but white space"
    used, found = len(completion.prompt.chunk_ids), len(completion.decisions)
    notices = "".join(f"; {notice}" for notice in completion.notices)
    return f"{text}; {used} of {found} retrieved chunks in {completion.prompt.num_tokens} tokens{notices}"

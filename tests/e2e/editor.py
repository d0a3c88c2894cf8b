"""A small editor: a real client of the protocol.

`started_editor` gives it a server in a process of its own, as people have it; `connected_editor` one in this
process, which is quicker, and whose prompts can be read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types
from pygls.io_ import run_async
from pygls.lsp.client import LanguageClient

from codefilter_lsp.__main__ import _without_foreign_tracebacks, make_server
from codefilter_lsp.server import CodeFilterServer

SERVER = (sys.executable, "-m", "codefilter_lsp")
TIMEOUT_SECONDS = 30.0

T = TypeVar("T")


class Editor(LanguageClient):
    """A client that remembers what the server said."""

    def __init__(self) -> None:
        super().__init__("test-editor", "1")
        self.messages: list[str] = []
        self.logs: list[str] = []
        self.progress: list[dict[str, Any]] = []  # values of $/progress
        self.registrations: list[types.Registration] = []
        self.settings: Callable[[str | None], object] | None = None  # by folder; None: it does not tell
        self.statuses: list[dict[str, Any]] = []
        self.questions: list[str] = []
        self.answer_to_questions: str | None = None
        self.documents_shown: list[str] = []
        self.exit_code: int | None = None
        self.stderr = ""
        self.tracebacks: list[str] = []  # of a server in this process
        self.feature(types.WINDOW_SHOW_MESSAGE)(lambda params: self.messages.append(params.message))
        self.feature(types.WINDOW_LOG_MESSAGE)(lambda params: self.logs.append(params.message))
        self.feature(types.WINDOW_WORK_DONE_PROGRESS_CREATE)(lambda params: None)
        self.feature(types.PROGRESS)(lambda params: self.progress.append(params.value))
        self.feature(types.CLIENT_REGISTER_CAPABILITY)(
            lambda params: self.registrations.extend(params.registrations)
        )
        self.feature(types.WORKSPACE_CONFIGURATION)(lambda params: self._tell_settings(params))
        self.feature(types.WINDOW_SHOW_MESSAGE_REQUEST)(lambda params: self._answer_question(params))
        self.feature(types.WINDOW_SHOW_DOCUMENT)(lambda params: self._show_document(params))
        self.feature("didChangeStatus")(lambda params: self.statuses.append(params._asdict()))

    def _tell_settings(self, params: types.ConfigurationParams) -> list[object]:
        assert self.settings is not None
        assert all(item.section == "codefilter" for item in params.items)
        return [self.settings(item.scope_uri) for item in params.items]

    def _answer_question(self, params: types.ShowMessageRequestParams) -> types.MessageActionItem | None:
        self.questions.append(params.message)
        return types.MessageActionItem(self.answer_to_questions) if self.answer_to_questions else None

    def _show_document(self, params: types.ShowDocumentParams) -> types.ShowDocumentResult:
        self.documents_shown.append(params.uri)
        return types.ShowDocumentResult(success=True)

    @property
    def is_connected(self) -> bool:
        return self.protocol.writer is not None

    async def start_io(self, cmd: str, *args: str, **kwargs: Any) -> None:
        await super().start_io(cmd, *args, **kwargs)
        assert self._server is not None
        assert self._server.stderr is not None
        self._stderr = asyncio.create_task(self._server.stderr.read())  # a full pipe would stop the server

    async def server_exit(self, server: asyncio.subprocess.Process) -> None:
        self.stderr = (await self._stderr).decode()
        self.exit_code = server.returncode

    async def initialize(
        self,
        *folders: Path,
        options: object = None,
        inline: bool = True,
        encodings: list[str] | None = None,
    ) -> types.InitializeResult:
        capabilities = types.ClientCapabilities(
            text_document=types.TextDocumentClientCapabilities(
                inline_completion=types.InlineCompletionClientCapabilities() if inline else None
            ),
            workspace=types.WorkspaceClientCapabilities(
                did_change_watched_files=types.DidChangeWatchedFilesClientCapabilities(
                    dynamic_registration=True
                ),
                configuration=self.settings is not None,
                did_change_configuration=types.DidChangeConfigurationClientCapabilities(True),
            ),
            window=types.WindowClientCapabilities(
                work_done_progress=True, show_document=types.ShowDocumentClientCapabilities(True)
            ),
            general=types.GeneralClientCapabilities(position_encodings=encodings),
        )
        result = await self.initialize_async(
            types.InitializeParams(
                capabilities=capabilities,
                initialization_options=options,
                workspace_folders=[types.WorkspaceFolder(folder.as_uri(), folder.name) for folder in folders],
            )
        )
        self.initialized(types.InitializedParams())
        return result

    def open(self, uri: str, text: str, language: str = "python") -> None:
        item = types.TextDocumentItem(uri, language, 1, text)
        self.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def edit(self, uri: str, start: tuple[int, int], end: tuple[int, int], text: str) -> None:
        change = types.TextDocumentContentChangePartial(
            types.Range(types.Position(*start), types.Position(*end)), text
        )
        document = types.VersionedTextDocumentIdentifier(uri=uri, version=2)
        self.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    def save(self, uri: str) -> None:
        document = types.TextDocumentIdentifier(uri)
        self.text_document_did_save(types.DidSaveTextDocumentParams(document))

    def close(self, uri: str) -> None:
        document = types.TextDocumentIdentifier(uri)
        self.text_document_did_close(types.DidCloseTextDocumentParams(document))

    def report_files(self, *changes: tuple[Path, types.FileChangeType]) -> None:
        events = [types.FileEvent(path.as_uri(), kind) for path, kind in changes]
        self.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams(events))

    async def inline(
        self,
        uri: str,
        line: int,
        character: int,
        request_id: str | None = None,
        *,
        invoked: bool = False,
    ) -> list[Any]:
        kinds = types.InlineCompletionTriggerKind
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(kinds.Invoked if invoked else kinds.Automatic),
            text_document=types.TextDocumentIdentifier(uri),
            position=types.Position(line, character),
        )
        result = await self.protocol.send_request_async(
            types.TEXT_DOCUMENT_INLINE_COMPLETION, params, msg_id=request_id
        )
        return list(result.items)

    async def inline_text(self, uri: str, line: int, character: int) -> str:
        """Text of the first item, or nothing."""
        items = await within(self.inline(uri, line, character))
        return str(items[0].insert_text) if items else ""

    async def until_inline(
        self, uri: str, line: int, character: int, condition: Callable[[str], bool]
    ) -> None:
        """Ask again until the answer is as it should be: the index follows a moment later."""

        async def poll() -> None:
            while not condition(await self.inline_text(uri, line, character)):
                await asyncio.sleep(0.1)

        await within(poll())

    def rest(self, uri: str, line: int, character: int) -> None:
        place = types.TextDocumentPositionParams(
            types.TextDocumentIdentifier(uri), types.Position(line, character)
        )
        self.protocol.notify("codefilter/didRest", place)

    async def menu(self, uri: str, line: int, character: int) -> list[types.CompletionItem]:
        params = types.CompletionParams(types.TextDocumentIdentifier(uri), types.Position(line, character))
        result = await within(self.text_document_completion_async(params))
        assert isinstance(result, types.CompletionList)
        return list(result.items)

    async def command(self, name: str, *arguments: Any) -> Any:
        params = types.ExecuteCommandParams(name, list(arguments))
        return await within(self.workspace_execute_command_async(params))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the server has said something."""

        async def poll() -> None:
            while not condition():
                await asyncio.sleep(0.02)

        await within(poll())

    async def until_indexed(self) -> None:
        await self.until(lambda: any(value["kind"] == "end" for value in self.progress))


async def within(work: Awaitable[T], seconds: float = TIMEOUT_SECONDS) -> T:
    return await asyncio.wait_for(work, seconds)


@asynccontextmanager
async def started_editor(*arguments: str) -> AsyncIterator[Editor]:
    """An editor whose server was started on stdio; afterwards it is shut down and must have been well."""
    editor = Editor()
    await editor.start_io(*SERVER, *arguments)
    try:
        yield editor
        if editor.exit_code is None:
            await within(editor.shutdown_async(None))
            editor.exit(None)
    except BaseException:
        if editor._server is not None and editor._server.returncode is None:
            editor._server.kill()
        raise
    finally:
        await within(editor.stop())
        print(*editor.logs, editor.stderr, sep="\n")  # pytest shows it where a test fails
    assert editor.exit_code == 0, editor.stderr
    assert "Traceback" not in editor.stderr, editor.stderr


class _Tracebacks(logging.Handler):
    """Keeps what a server in a process of its own would have written to stderr with a traceback."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__()
        self.addFilter(_without_foreign_tracebacks)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._kept.append(self.format(record))


@asynccontextmanager
async def connected_editor() -> AsyncIterator[tuple[Editor, CodeFilterServer]]:
    """An editor and its server, in this process; in the end no traceback may be among `Editor.tracebacks`."""
    editor, server = Editor(), make_server()
    log, tracebacks = logging.getLogger(), _Tracebacks(editor.tracebacks)
    log.addHandler(tracebacks)
    stopped = threading.Event()
    ends = socket.socketpair()
    tasks = []
    writers = []
    for peer, end in zip((editor, server), ends, strict=True):
        reader, writer = await asyncio.open_connection(sock=end)
        peer.protocol.set_writer(writer)
        writers.append(writer)
        run = run_async(
            stopped, reader, peer.protocol, logging.getLogger("pygls.tests"), peer.report_server_error
        )
        tasks.append(asyncio.create_task(run))
    try:
        yield editor, server
        await within(editor.shutdown_async(None))
    finally:
        server.abandon()
        for writer in writers:
            writer.close()
        await within(asyncio.gather(*tasks, return_exceptions=True))
        log.removeHandler(tracebacks)
        print(*editor.logs, sep="\n")
    assert editor.tracebacks == []

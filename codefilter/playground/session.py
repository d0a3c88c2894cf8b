"""One repository in the language server, for a page that is its editor.

In: texts and places. Out: completions and explanations. The server runs in a process of its own, exactly as
an editor starts it, so what the page shows is what an editor would show.

Notable: texts are sent to the server and nowhere else: nothing that is typed in the page reaches the disk.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient

from codefilter.config import ENVIRONMENT_PREFIX
from codefilter.errors import CodeFilterError, UsageError
from codefilter.languages import language_of
from codefilter.source import Skipped, read_source, scan

_SERVER = (sys.executable, "-P", "-m", "codefilter_lsp")  # -P: no module of the repository in their place
_START_SECONDS = 60.0
_STOP_SECONDS = 5.0

T = TypeVar("T")


class _Client(LanguageClient):
    """A client whose server writes its errors to the terminal."""

    has_ended = False

    async def start_io(self, cmd: str, *args: str, **kwargs: Any) -> None:
        """Start the server."""
        await super().start_io(cmd, *args, **kwargs)
        self._errors = asyncio.create_task(self._pass_errors_on())

    async def server_exit(self, server: asyncio.subprocess.Process) -> None:
        """Called when it has ended."""
        self.has_ended = True
        await self._errors

    async def _pass_errors_on(self) -> None:
        assert self._server is not None
        assert self._server.stderr is not None
        async for (
            line
        ) in self._server.stderr:  # a pipe that nobody reads would stop the server when it is full
            sys.stderr.write(line.decode(errors="replace"))


@dataclass(frozen=True)
class Answer:
    """What the server says about one place."""

    items: list[dict[str, Any]]  # text, range and command of each, as the protocol has them
    explanation: dict[str, Any] | None
    is_superseded: bool = False  # a newer request took its place


class Session:
    """The server of one repository; its methods may be called from any thread."""

    def __init__(
        self, root: Path, settings: Mapping[str, str], options: Mapping[str, object] | None = None
    ) -> None:
        """Check the repository; `start` starts the server.

        Args:
            root: the repository's folder.
            settings: names of `Settings`; the server takes them from its environment, so as the user's own.
            options: of the server, as in ``lsp/editors/README.md``.
        """
        self.root = root.resolve()
        if not self.root.is_dir():
            raise UsageError(f"{root} is no folder", hint="Name the folder of a repository.")
        self.files = scan(self.root).files
        if not self.files:
            raise UsageError(f"no source files in {root}", hint="Check what .gitignore leaves out.")
        self._settings = dict(settings)
        self._options = dict(options or {}) | {"statusNotifications": True, "feedback": False}
        self._status: dict[str, Any] = {"busy": True, "kind": "Normal", "message": "starting"}
        self._versions: dict[str, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # from `start` to `stop`
        self._client = _Client("codefilter-playground", "1")
        self._client.feature("didChangeStatus")(lambda status: self._take_status(status))
        for ignored in (types.WINDOW_LOG_MESSAGE, types.PROGRESS):
            self._client.feature(ignored)(lambda _: None)
        self._client.feature(types.WINDOW_SHOW_MESSAGE)(lambda said: self._take_message(said))

    @property
    def status(self) -> dict[str, Any]:
        """What the server is doing."""
        return self._status

    def start(self) -> None:
        """Start the server."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="playground", daemon=True)
        self._thread.start()
        self._run(self._start()).result(_START_SECONDS)

    def stop(self) -> None:
        """End the server."""
        if (loop := self._loop) is None:
            return
        try:
            with suppress(CodeFilterError, RuntimeError, TimeoutError):  # the same Ctrl-C may have ended it
                self._run(self._stop()).result(_STOP_SECONDS)
        finally:
            self._loop = None
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(_STOP_SECONDS)
            loop.close()

    def read(self, path: str) -> str:
        """A file's text; `CodeFilterError` for one that is not source, or not of the repository."""
        source = read_source(self.root, path) if path in self.files else None
        if source is None or isinstance(source, Skipped):
            raise CodeFilterError(f"{path} is not shown: it is no source file of {self.root.name}")
        return source.text

    def open(self, path: str) -> str:
        """A file's text, of which the server now knows, so that it loads the model; errors as in `read`."""
        text = self.read(path)
        self._wait(self._open(path, text))
        return text

    def complete(self, path: str, text: str, line: int, character: int, *, explicit: bool = False) -> Answer:
        """Complete a place (0-based, UTF-16) of a text."""
        return self._wait(self._complete(path, text, line, character, explicit))

    def accept(self, command: Mapping[str, Any]) -> None:
        """The person took a text."""
        self._wait(self._command(str(command["command"]), *command.get("arguments", ())))

    def attribute(self, answer_id: str) -> dict[str, float]:
        """What each chunk did for an answer's likelihood, by chunk id."""
        measured: dict[str, float] | None = self._wait(
            self._command("codefilter.attribute", answer_id, {"show": False})
        )
        return measured or {}

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of it; `CodeFilterError` where the server refuses, or ends meanwhile."""
        try:
            return self._run(work).result()
        except (JsonRpcException, RuntimeError) as error:
            raise CodeFilterError(str(error)) from error

    def _run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._loop is None or self._client.has_ended:
            work.close()
            raise CodeFilterError("the language server has ended", hint="Start the playground again.")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _take_status(self, status: Any) -> None:
        self._status = {name: getattr(status, name) for name in ("busy", "kind", "message")}

    def _take_message(self, said: types.ShowMessageParams) -> None:
        self._status = {"busy": False, "kind": "Error", "message": said.message}

    async def _start(self) -> None:
        chosen = {f"{ENVIRONMENT_PREFIX}{name.upper()}": value for name, value in self._settings.items()}
        await self._client.start_io(*_SERVER, cwd=self.root, env={**os.environ, **chosen})
        capabilities = types.ClientCapabilities(
            text_document=types.TextDocumentClientCapabilities(
                inline_completion=types.InlineCompletionClientCapabilities()
            ),
            general=types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind.Utf16]),
        )
        folder = types.WorkspaceFolder(self.root.as_uri(), self.root.name)
        params = types.InitializeParams(
            capabilities=capabilities, initialization_options=self._options, workspace_folders=[folder]
        )
        await self._client.initialize_async(params)
        self._client.initialized(types.InitializedParams())

    async def _stop(self) -> None:
        await self._client.shutdown_async(None)
        self._client.exit(None)
        await self._client.stop()  # type: ignore[no-untyped-call]

    def _synchronize(self, path: str, text: str) -> str:
        """Tell the server a file's text; returns its URI."""
        uri = (self.root / path).as_uri()
        version = self._versions[uri] = self._versions.get(uri, 0) + 1
        if version == 1:
            item = types.TextDocumentItem(uri, language_of(path), version, text)
            self._client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        else:
            document = types.VersionedTextDocumentIdentifier(version, uri)
            change = types.TextDocumentContentChangeWholeDocument(text)
            self._client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))
        return uri

    async def _open(self, path: str, text: str) -> None:
        self._synchronize(path, text)

    async def _complete(self, path: str, text: str, line: int, character: int, explicit: bool) -> Answer:
        uri = self._synchronize(path, text)
        kinds = types.InlineCompletionTriggerKind
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(kinds.Invoked if explicit else kinds.Automatic),
            text_document=types.TextDocumentIdentifier(uri),
            position=types.Position(line, character),
        )
        try:
            found = await self._client.text_document_inline_completion_async(params)
        except JsonRpcException:
            return Answer([], None, is_superseded=True)
        items = found.items if isinstance(found, types.InlineCompletionList) else found or []
        plain: list[dict[str, Any]] = [self._client.protocol._converter.unstructure(item) for item in items]
        known = plain[0]["command"]["arguments"][0] if plain else None
        arguments = [known] if known else []
        explanation = await self._command("codefilter.explain", *arguments, {"show": False})
        return Answer(plain, explanation)

    async def _command(self, name: str, *arguments: Any) -> Any:
        params = types.ExecuteCommandParams(name, list(arguments))
        return await self._client.workspace_execute_command_async(params)

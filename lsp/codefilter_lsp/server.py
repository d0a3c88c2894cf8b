"""The language server: what an editor and the rest of the server say to each other.

In: messages of an editor. Out: the handlers of files and settings; those of completions are in `completing`,
those of commands in `commands`. What a message means is decided in `workspace` and `answering`.

Notable: handlers that read or change a document are coroutines that do so before their first ``await``, so
that they act in the order of their messages (see `documents`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import FeatureNotificationError
from pygls.lsp.server import LanguageServer

from codefilter import __version__
from codefilter_lsp.answering import Answering
from codefilter_lsp.background import Background
from codefilter_lsp.configuration import SECTION, Configuration
from codefilter_lsp.documents import path_of
from codefilter_lsp.progress import Report, show_progress
from codefilter_lsp.protocol import AnsweringProtocol
from codefilter_lsp.status import Status
from codefilter_lsp.workspace import Workspace

STATUS_NOTIFICATION = "didChangeStatus"
_FILES = [types.FileOperationFilter(types.FileOperationPattern("**/*"), "file")]

_log = logging.getLogger(__name__)


class CodeFilterServer(LanguageServer):
    """A pygls server with the workspace and the model behind it: the `Editor` that they talk to."""

    def __init__(self) -> None:
        super().__init__("codefilter-lsp", __version__, protocol_cls=AnsweringProtocol)
        self.background = Background(self)
        self.files = Workspace(self, self.background)
        self.answering = Answering(self, self.files, self.background)
        self.configuration = Configuration(self, self, self.files, self.background)
        self.was_shut_down = False
        self._told: set[str] = set()
        self._shown: Status | None = None
        for method, handler in _HANDLERS.items():
            self.feature(method)(handler)
        for method in _FILE_OPERATIONS:
            options = types.FileOperationRegistrationOptions(_FILES)
            self.feature(method, options)(_FILE_OPERATIONS[method])

    @property
    def encoding(self) -> str:
        """The unit of columns that was negotiated."""
        return types.PositionEncodingKind(self.workspace.position_encoding).value

    def tell(self, message: str) -> None:
        """See `codefilter_lsp.background.Editor`."""
        if message not in self._told:
            self._told.add(message)
            self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, message))

    def log(self, message: str) -> None:
        """See `codefilter_lsp.background.Editor`."""
        self.window_log_message(types.LogMessageParams(types.MessageType.Log, message))

    def show_progress(self, title: str) -> AbstractAsyncContextManager[Report]:
        """See `codefilter_lsp.background.Editor`."""
        return show_progress(self, title)

    def show_status(self, status: Status) -> None:
        """See `codefilter_lsp.background.Editor`."""
        if status != self._shown and self.files.options.status_notifications:
            self._shown = status
            self.protocol.notify(STATUS_NOTIFICATION, status.to_json())

    def register(self, method: str, options: Any) -> None:
        """Ask the editor for notifications that it offers."""
        params = types.RegistrationParams([types.Registration(method, method, options)])
        self.background.start(f"registering {method}", self._register, params)

    async def _register(self, params: types.RegistrationParams) -> None:
        await self.client_register_capability_async(params)

    def abandon(self) -> None:
        """Let the threads end soon."""
        self.background.stopping.cancel()
        self.files.abandon()
        self.answering.abandon()

    def report_server_error(self, error: Exception, source: object) -> None:
        """Log what pygls cannot handle; its own way is a message, which fails again where sending failed.

        Where a handler of a notification failed, nobody else has logged its traceback.
        """
        trace = source is FeatureNotificationError
        _log.error("%s: %s", type(error).__name__, error, exc_info=trace)


async def initialized(server: CodeFilterServer, params: types.InitializedParams) -> None:
    """Ask for the settings, open the folders, ask to hear of files that change outside the editor."""
    uris = [folder.uri for folder in server.workspace.folders.values()] or [server.workspace.root_uri]
    roots = [root for root in (path_of(uri) for uri in uris if uri) if root is not None]
    for root in roots:
        server.files.add_folder(root)
    await server.configuration.begin(roots)
    server.answering.show_status()
    server.files.open_indexes()
    workspace = server.client_capabilities.workspace
    changing = workspace and workspace.did_change_configuration
    if changing and changing.dynamic_registration:
        section = types.DidChangeConfigurationRegistrationOptions(SECTION)
        server.register(types.WORKSPACE_DID_CHANGE_CONFIGURATION, section)
    watching = workspace and workspace.did_change_watched_files
    if watching and watching.dynamic_registration:
        watchers = types.DidChangeWatchedFilesRegistrationOptions([types.FileSystemWatcher("**/*")])
        server.register(types.WORKSPACE_DID_CHANGE_WATCHED_FILES, watchers)


async def did_change_configuration(
    server: CodeFilterServer, params: types.DidChangeConfigurationParams
) -> None:
    """Take new settings at run time."""
    await server.configuration.change(params.settings)
    server.answering.show_status()


async def did_change_folders(server: CodeFilterServer, params: types.DidChangeWorkspaceFoldersParams) -> None:
    """Follow the folders of the editor's window."""
    for folder in params.event.removed:
        if (root := path_of(folder.uri)) is not None:
            server.files.remove_folder(root)
    for folder in params.event.added:
        if (root := path_of(folder.uri)) is not None:
            server.files.add_folder(root)
    await server.configuration.ask(server.files.roots)
    server.answering.show_status()
    server.files.open_indexes()


async def did_open(server: CodeFilterServer, params: types.DidOpenTextDocumentParams) -> None:
    """Take a document's text; the first one wakes the model."""
    document = server.files.documents.open(params.text_document)
    server.files.document_changed(document.path, document.text)
    server.answering.warm_up(document)


async def did_change(server: CodeFilterServer, params: types.DidChangeTextDocumentParams) -> None:
    """Apply edits; the index follows."""
    uri = params.text_document.uri
    changed = server.files.documents.change(uri, params.content_changes, server.encoding)
    if changed is not None:
        document, edits = changed
        server.files.document_changed(document.path, document.text)
        server.answering.feedback.edited(uri, edits)
        server.answering.key_pressed(document)


async def did_save(server: CodeFilterServer, params: types.DidSaveTextDocumentParams) -> None:
    """Index what is on disk now."""
    server.files.document_changed(path_of(params.text_document.uri), None)
    server.answering.feedback.saved(params.text_document.uri)


async def did_close(server: CodeFilterServer, params: types.DidCloseTextDocumentParams) -> None:
    """Forget unsaved text."""
    server.answering.feedback.closed(params.text_document.uri)
    document = server.files.documents.close(params.text_document.uri)
    if document is not None:
        server.files.document_changed(document.path, None)


async def did_change_files(server: CodeFilterServer, params: types.DidChangeWatchedFilesParams) -> None:
    """Files were created, changed or deleted, by whomever."""
    _files_changed(server, *(event.uri for event in params.changes))


async def did_rename_files(server: CodeFilterServer, params: types.RenameFilesParams) -> None:
    """Files were renamed in the editor."""
    _files_changed(server, *(uri for file in params.files for uri in (file.old_uri, file.new_uri)))


async def did_create_or_delete_files(
    server: CodeFilterServer, params: types.CreateFilesParams | types.DeleteFilesParams
) -> None:
    """Files were created or deleted in the editor."""
    _files_changed(server, *(file.uri for file in params.files))


def _files_changed(server: CodeFilterServer, *uris: str) -> None:
    paths: list[Path | None] = [path_of(uri) for uri in uris]
    server.files.files_changed(path for path in paths if path is not None)


async def shutdown(server: CodeFilterServer, params: None) -> None:
    """End all work, so that nothing is said any more when ``exit`` closes the connection."""
    server.was_shut_down = True
    server.abandon()
    await server.background.stop()


_HANDLERS: dict[str, Callable[..., Any]] = {
    types.INITIALIZED: initialized,
    types.SHUTDOWN: shutdown,
    types.TEXT_DOCUMENT_DID_OPEN: did_open,
    types.TEXT_DOCUMENT_DID_CHANGE: did_change,
    types.TEXT_DOCUMENT_DID_SAVE: did_save,
    types.TEXT_DOCUMENT_DID_CLOSE: did_close,
    types.WORKSPACE_DID_CHANGE_CONFIGURATION: did_change_configuration,
    types.WORKSPACE_DID_CHANGE_WATCHED_FILES: did_change_files,
    types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: did_change_folders,
}
_FILE_OPERATIONS: dict[str, Callable[..., Any]] = {
    types.WORKSPACE_DID_RENAME_FILES: did_rename_files,
    types.WORKSPACE_DID_CREATE_FILES: did_create_or_delete_files,
    types.WORKSPACE_DID_DELETE_FILES: did_create_or_delete_files,
}

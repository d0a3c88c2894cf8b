"""The language server's handlers: protocol in, protocol out.

In: messages of an editor. Out: inline completions, completion items, logs. What they mean is decided in
`workspace`; this file only translates.

Notable: handlers that read or change a document are coroutines that do so before their first ``await``, so
that they act in the order of their messages (see `documents`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from codefilter import __version__
from codefilter_lsp.documents import Document, path_of
from codefilter_lsp.positions import offset_at, position_at
from codefilter_lsp.progress import Report, show_progress
from codefilter_lsp.settings import read_options
from codefilter_lsp.workspace import Workspace

_WORD_AT_END = re.compile(r"\w+\Z")
_TRIGGER_CHARACTERS = (".", "(")

_log = logging.getLogger(__name__)


class CodeFilterServer(LanguageServer):
    """A pygls server with the workspace behind it: the `Editor` that the workspace talks to."""

    def __init__(self) -> None:
        super().__init__("codefilter-lsp", __version__)
        self.files = Workspace(self)
        self.was_shut_down = False
        self._told: set[str] = set()
        for method, handler in _HANDLERS.items():
            self.feature(method)(handler)
        # without its options pygls does not advertise it
        self.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(
            inline_completion
        )

    @property
    def encoding(self) -> str:
        """The unit of columns that was negotiated."""
        return types.PositionEncodingKind(self.workspace.position_encoding).value

    def tell(self, message: str) -> None:
        """See `codefilter_lsp.workspace.Editor`."""
        if message not in self._told:
            self._told.add(message)
            self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, message))

    def log(self, message: str) -> None:
        """See `codefilter_lsp.workspace.Editor`."""
        self.window_log_message(types.LogMessageParams(types.MessageType.Log, message))

    def show_progress(self, title: str) -> AbstractAsyncContextManager[Report]:
        """See `codefilter_lsp.workspace.Editor`."""
        return show_progress(self, title)

    def report_server_error(self, error: Exception, source: object) -> None:
        """Log what pygls cannot handle; its own way is a message, which fails again where sending failed."""
        _log.error("%s: %s", type(error).__name__, error)


def initialize(server: CodeFilterServer, params: types.InitializeParams) -> None:
    """Read the editor's options, and offer completion items where inline completion is unknown to it."""
    options = read_options(params.initialization_options)
    server.files.configure(options)
    document = params.capabilities.text_document
    inline = document is not None and document.inline_completion is not None
    wanted = options.completion_fallback
    if wanted or (wanted is None and not inline):
        offered = types.CompletionOptions(trigger_characters=_TRIGGER_CHARACTERS)
        server.feature(types.TEXT_DOCUMENT_COMPLETION, offered)(completion_items)


async def initialized(server: CodeFilterServer, params: types.InitializedParams) -> None:
    """Open the folders, and ask to hear of files that change outside the editor."""
    uris = [folder.uri for folder in server.workspace.folders.values()] or [server.workspace.root_uri]
    for root in (path_of(uri) for uri in uris if uri):
        if root is not None:
            server.files.add_folder(root)
    watching = (
        server.client_capabilities.workspace and server.client_capabilities.workspace.did_change_watched_files
    )
    if watching and watching.dynamic_registration:
        watchers = types.DidChangeWatchedFilesRegistrationOptions([types.FileSystemWatcher("**/*")])
        registration = types.Registration("watch", types.WORKSPACE_DID_CHANGE_WATCHED_FILES, watchers)
        await server.client_register_capability_async(types.RegistrationParams([registration]))


def did_change_folders(server: CodeFilterServer, params: types.DidChangeWorkspaceFoldersParams) -> None:
    """Follow the folders of the editor's window."""
    for folder in params.event.removed:
        if (root := path_of(folder.uri)) is not None:
            server.files.remove_folder(root)
    for folder in params.event.added:
        if (root := path_of(folder.uri)) is not None:
            server.files.add_folder(root)


async def did_open(server: CodeFilterServer, params: types.DidOpenTextDocumentParams) -> None:
    """Take a document's text; the first one wakes the model."""
    document = server.files.documents.open(params.text_document)
    server.files.document_changed(document.path, document.text)
    server.files.warm_up(document)


async def did_change(server: CodeFilterServer, params: types.DidChangeTextDocumentParams) -> None:
    """Apply edits; the index follows."""
    uri = params.text_document.uri
    document = server.files.documents.change(uri, params.content_changes, server.encoding)
    if document is not None:
        server.files.document_changed(document.path, document.text)


async def did_save(server: CodeFilterServer, params: types.DidSaveTextDocumentParams) -> None:
    """Index what is on disk now."""
    server.files.document_changed(path_of(params.text_document.uri), None)


async def did_close(server: CodeFilterServer, params: types.DidCloseTextDocumentParams) -> None:
    """Forget unsaved text."""
    document = server.files.documents.close(params.text_document.uri)
    if document is not None:
        server.files.document_changed(document.path, None)


async def did_change_files(server: CodeFilterServer, params: types.DidChangeWatchedFilesParams) -> None:
    """Files were created, changed or deleted, by whomever."""
    paths = (path_of(event.uri) for event in params.changes)
    server.files.files_changed(path for path in paths if path is not None)


async def shutdown(server: CodeFilterServer, params: None) -> None:
    """End all work, so that nothing is said any more when ``exit`` closes the connection."""
    server.was_shut_down = True
    await server.files.stop()


async def inline_completion(
    server: CodeFilterServer, params: types.InlineCompletionParams
) -> types.InlineCompletionList:
    """The completion as grey text at the cursor, or an empty list."""
    suggestion = await _suggest(server, params.text_document.uri, params.position, "inline")
    return types.InlineCompletionList([_inline_item(suggestion, server.encoding)] if suggestion else [])


async def completion_items(server: CodeFilterServer, params: types.CompletionParams) -> types.CompletionList:
    """The completion as one item of the completion menu, or an empty list."""
    suggestion = await _suggest(server, params.text_document.uri, params.position, "menu")
    items = [_menu_item(suggestion, server.encoding)] if suggestion else []
    return types.CompletionList(is_incomplete=True, items=items)  # incomplete: ask again after the next key


class _Suggestion(NamedTuple):
    """What to insert where, in the document as it was when it was asked for."""

    text: str
    document: Document
    cursor: int  # offset in code points

    def range_from(self, start: int, encoding: str) -> types.Range:
        """From an offset to the cursor, in the editor's units."""
        return types.Range(
            position_at(self.document.text, start, encoding),
            position_at(self.document.text, self.cursor, encoding),
        )


async def _suggest(
    server: CodeFilterServer, uri: str, position: types.Position, kind: str
) -> _Suggestion | None:
    document = server.files.documents.get(uri)
    if document is None:
        server.log(f"{uri}: no completion, because it was never opened")
        return None
    cursor = offset_at(document.text, position, server.encoding)
    completion = await server.files.complete(document, cursor, kind)
    return _Suggestion(completion.text, document, cursor) if completion else None


def _inline_item(suggestion: _Suggestion, encoding: str) -> types.InlineCompletionItem:
    return types.InlineCompletionItem(
        suggestion.text, range=suggestion.range_from(suggestion.cursor, encoding)
    )


def _menu_item(suggestion: _Suggestion, encoding: str) -> types.CompletionItem:
    """Editors filter by the word before the cursor, so the item begins with it and replaces it."""
    before = suggestion.document.text[: suggestion.cursor]
    word = _WORD_AT_END.search(before)
    start = word.start() if word else suggestion.cursor
    text = before[start:] + suggestion.text
    first_line, _, more = text.partition("\n")
    return types.CompletionItem(
        label=first_line.strip() + (" …" if more else ""),
        kind=types.CompletionItemKind.Text,
        detail="CodeFilter",
        documentation=text,
        filter_text=first_line,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(suggestion.range_from(start, encoding), text),
    )


_HANDLERS: dict[str, Callable[..., Any]] = {
    types.INITIALIZE: initialize,
    types.INITIALIZED: initialized,
    types.SHUTDOWN: shutdown,
    types.TEXT_DOCUMENT_DID_OPEN: did_open,
    types.TEXT_DOCUMENT_DID_CHANGE: did_change,
    types.TEXT_DOCUMENT_DID_SAVE: did_save,
    types.TEXT_DOCUMENT_DID_CLOSE: did_close,
    types.WORKSPACE_DID_CHANGE_WATCHED_FILES: did_change_files,
    types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: did_change_folders,
}

"""The handlers of completions: inline completion, and the completion menu for editors without it."""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from codefilter_lsp.answers import Answer
from codefilter_lsp.documents import Document
from codefilter_lsp.items import inline_items, menu_items, resolve
from codefilter_lsp.positions import offset_at
from codefilter_lsp.protocol import DID_REST
from codefilter_lsp.server import CodeFilterServer

_TRIGGER_CHARACTERS = (".", "(")


def register(server: CodeFilterServer) -> None:
    """Offer completions."""
    server.feature(types.INITIALIZE)(initialize)
    # without its options pygls does not advertise it
    server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(inline_completion)
    server.feature(DID_REST)(did_rest)


def initialize(server: CodeFilterServer, params: types.InitializeParams) -> None:
    """Read the editor's options, and offer completion items where inline completion is unknown to it."""
    options = server.configuration.read_initial(params.initialization_options)
    document = params.capabilities.text_document
    inline = document is not None and document.inline_completion is not None
    wanted = options.completion_fallback
    if wanted or (wanted is None and not inline):
        offered = types.CompletionOptions(trigger_characters=_TRIGGER_CHARACTERS, resolve_provider=True)
        server.feature(types.TEXT_DOCUMENT_COMPLETION, offered)(completion_items)
        server.feature(types.COMPLETION_ITEM_RESOLVE)(resolve_item)


async def inline_completion(
    server: CodeFilterServer, params: types.InlineCompletionParams
) -> types.InlineCompletionList:
    """Texts to show as ghost text at the cursor, or an empty list."""
    explicit = params.context.trigger_kind is types.InlineCompletionTriggerKind.Invoked
    found = await _answer(server, params, "inline", explicit)
    items = inline_items(found[0], found[1].text, server.encoding) if found else []
    return types.InlineCompletionList(items)


async def did_rest(server: CodeFilterServer, params: types.TextDocumentPositionParams) -> None:
    """The cursor has stayed at a place for a moment."""
    document = server.files.documents.get(params.text_document.uri)
    if document is not None:
        server.answering.rested(document, offset_at(document.text, params.position, server.encoding))


async def completion_items(server: CodeFilterServer, params: types.CompletionParams) -> types.CompletionList:
    """The same texts as items of the completion menu, or an empty list."""
    found = await _answer(server, params, "menu", explicit=False)
    items = menu_items(found[0], found[1].text, server.encoding) if found else []
    return types.CompletionList(is_incomplete=True, items=items)  # incomplete: ask again after the next key


def resolve_item(server: CodeFilterServer, item: types.CompletionItem) -> types.CompletionItem:
    """Fill in what an editor shows beside the selected item."""
    data: Any = item.data
    answer_id = data.get("id") if isinstance(data, dict) else None
    return resolve(item, server.answering.answers.get(str(answer_id)))


async def _answer(
    server: CodeFilterServer,
    params: types.InlineCompletionParams | types.CompletionParams,
    kind: str,
    explicit: bool,
) -> tuple[Answer, Document] | None:
    """The answer, and the document as it was when it was asked for."""
    uri = params.text_document.uri
    document = server.files.documents.get(uri)
    if document is None:
        server.log(f"{uri}: no completion, because it was never opened")
        return None
    cursor = offset_at(document.text, params.position, server.encoding)
    return await server.answering.answer(document, cursor, kind, explicit=explicit), document

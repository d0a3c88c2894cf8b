"""The wire: pygls's protocol, but what cannot be understood is answered too.

In: JSON of an editor. Out: messages for the handlers. pygls drops a request whose parameters have the wrong
form, and its editor waits for ever.
"""

from __future__ import annotations

from typing import Any

import attrs
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams, JsonRpcInvalidRequest
from pygls.protocol import LanguageServerProtocol

_OURS = (
    # texts are kept by `documents` alone: pygls fails at a change of what was never opened
    types.TEXT_DOCUMENT_DID_OPEN,
    types.TEXT_DOCUMENT_DID_CHANGE,
    types.TEXT_DOCUMENT_DID_CLOSE,
    types.WORKSPACE_EXECUTE_COMMAND,  # a command that is cancelled goes on in pygls
)
DID_SHOW = "textDocument/didShowCompletion"
DID_PARTIALLY_ACCEPT = "textDocument/didPartiallyAcceptCompletion"
DID_REST = "codefilter/didRest"


@attrs.define
class ItemNotification:
    """A notification about an item (Copilot's, not the protocol's): pygls would make a named tuple of it."""

    method: str
    params: dict[str, Any]
    jsonrpc: str = "2.0"


@attrs.define
class RestNotification:
    """Our own: the cursor has stayed at a place for a moment."""

    method: str
    params: types.TextDocumentPositionParams
    jsonrpc: str = "2.0"


class _Requests(dict[Any, Any]):
    """What is under way, by the message's id: requests, and handlers of notifications.

    Pygls takes requests out when they end, but no handler of a notification: every edit would stay for ever.
    And at ``shutdown`` it goes through them while their ends take them out.
    """

    def __setitem__(self, message_id: Any, future: Any) -> None:
        """Know something until it has ended."""
        super().__setitem__(message_id, future)
        future.add_done_callback(lambda done: self._forget(message_id, done))

    def items(self) -> Any:
        """All of them at this moment."""
        return list(super().items())

    def _forget(self, message_id: Any, future: Any) -> None:
        if self.get(message_id) is future:
            self.pop(message_id, None)


class AnsweringProtocol(LanguageServerProtocol):
    """A protocol that owes no answer."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._request_futures = _Requests()
        for method in _OURS:
            del self.fm.builtin_features[method]

    def get_message_type(self, method: str) -> type[Any] | None:  # type: ignore[override]  # theirs is cached
        """How a message is read."""
        if method in (DID_SHOW, DID_PARTIALLY_ACCEPT):
            return ItemNotification
        if method == DID_REST:
            return RestNotification
        return super().get_message_type(method)

    def structure_message(self, data: dict[str, Any]) -> Any:
        """The message, or an error to its sender."""
        try:
            return super().structure_message(data)
        except JsonRpcException:
            if "method" in data and isinstance(data.get("id"), str | int):
                what = f"{data['method']}: the parameters do not have the form that the protocol says"
                error = types.ResponseError(JsonRpcInvalidParams.CODE, what)
                self._send_response(data["id"], None, error)
            raise

    def handle_message(self, message: Any) -> None:
        """Act on a message; one that is none, or comes after ``shutdown``, is an error to its sender."""
        if getattr(message, "jsonrpc", None) != self.VERSION:
            known = message.get("id") if isinstance(message, dict) else getattr(message, "id", None)
            error = _invalid("this is no message of JSON-RPC 2.0")
            self._send_response(known, None, error)  # type: ignore[arg-type]  # null, where it has no id
            raise JsonRpcInvalidRequest
        if (
            self._shutdown
            and isinstance(getattr(message, "id", None), str | int)
            and hasattr(message, "method")
        ):
            self._send_response(message.id, None, _invalid("the server was shut down"))
            return
        super().handle_message(message)


def _invalid(why: str) -> types.ResponseError:
    return types.ResponseError(JsonRpcInvalidRequest.CODE, why)

"""Which server it is, which model it has, and whether that is our tokenizer's.

In: a connection. Out: a `RemoteServer`; `ModelError` where the tokenizer is another than the server's.
Notable: prompts are token ids, so a wrong tokenizer would not fail but write nonsense. It is compared with
the server's wherever one can be asked, control tokens included; where none can, the description says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from codefilter.errors import ModelError, UsageError
from codefilter.lm.remote.base import RemoteServer, reading
from codefilter.lm.remote.completions import CompletionsServer
from codefilter.lm.remote.connection import Connection, RefusedError
from codefilter.lm.remote.endpoint import Endpoint
from codefilter.lm.remote.llama_server import LlamaServer
from codefilter.prompts.formats import get_format
from codefilter.tokenizer import Tokenizer

_SAMPLE = "\ndef größe(a_list: list[int]) -> str:\n\t# 你好 😀\n    return f'{len(a_list):>8}'\n\n\nx+=1.5e-3"
_NO_SUCH_THING = (400, 404, 405, 415, 422, 501)


async def discover(
    connection: Connection, endpoint: Endpoint, tokenizer: Tokenizer, family: str
) -> tuple[RemoteServer, bool]:
    """Find out what a server is.

    Returns:
        The server, and whether its tokenizer was compared.

    Raises:
        ModelError: no such server, or another tokenizer than the one given.
        UsageError: the server has several models, and none was named.
    """
    props_path = "/props" + (f"?model={quote(endpoint.model)}" if endpoint.model else "")
    props = await _get_or_none(connection, props_path)
    if isinstance(props, dict) and "default_generation_settings" in props:
        checked = await check_tokenizer(connection, endpoint.model, tokenizer, family)
        return LlamaServer(props, endpoint.model, tokenizer), checked
    model, context_length = await _find_model(connection, endpoint.model)
    checked = await check_tokenizer(connection, model, tokenizer, family)
    return await CompletionsServer.probe(connection, model, tokenizer, context_length), checked


async def _find_model(connection: Connection, wanted: str) -> tuple[str, int | None]:
    """The server's name of the model, and its context where that is told (vLLM)."""
    listed = await _get_or_none(connection, "/v1/models")
    with reading("/v1/models"):
        lengths = {str(row["id"]): row.get("max_model_len") for row in listed["data"]} if listed else {}
        if wanted:
            return wanted, lengths.get(wanted)
        if len(lengths) == 1:
            return next(iter(lengths.items()))
    names = ", ".join(lengths)
    query = f"model={next(iter(lengths), 'NAME')}"
    raise UsageError(
        f"the server has several models: {names}" if names else "the server does not say which model it has",
        hint=f"Name one: {_with_query(connection.url, query)}",
    )


async def check_tokenizer(connection: Connection, model: str, tokenizer: Tokenizer, family: str) -> bool:
    """Compare with the server's tokenizer, if it has ``/tokenize``; `ModelError` where they differ."""
    control = get_format(family, tokenizer).control_tokens
    text = _SAMPLE + "".join(control)
    fields = dict.fromkeys(("content", "prompt", "inputs"), text)  # llama-server, vLLM, TGI
    body = fields | {"add_special": False, "add_special_tokens": False} | ({"model": model} if model else {})
    try:
        answer = await connection.post("/tokenize", body)
    except RefusedError as error:
        if error.status in _NO_SUCH_THING:
            return False
        raise
    with reading("/tokenize"):
        tokens = answer["tokens"] if isinstance(answer, dict) else answer
        theirs = [int(token["id"] if isinstance(token, dict) else token) for token in tokens]
    ours = [*tokenizer.encode(_SAMPLE), *_ids(tokenizer, control)]
    if theirs != ours and theirs[1:] != ours:  # SentencePiece puts a space before every text
        raise ModelError(
            f"the server's tokenizer is another one: it makes {len(theirs)} tokens of a sample, "
            f"{'others than' if len(theirs) == len(ours) else f'not {len(ours)} as'} the one given",
            hint=f"Name its model: {_with_query(connection.url, 'tokenizer=NAME_OR_FOLDER')}",
        )
    return True


def _ids(tokenizer: Tokenizer, control: Iterable[str]) -> list[int]:
    found = [tokenizer.control_id(name) for name in control]
    return [token_id for token_id in found if token_id is not None]


async def _get_or_none(connection: Connection, path: str) -> Any:
    """What the server says at a path, None where it has no such thing."""
    try:
        return await connection.get(path)
    except RefusedError as error:
        if error.status in _NO_SUCH_THING:
            return None
        raise


def _with_query(url: str, query: str) -> str:
    return f"--model 'remote:{url}?{query}'"

"""OpenAI's ``/v1/completions``, as vLLM, SGLang, TGI and many others speak it, each a part of it.

In: token ids, or text where a server takes no ids. Out: `Piece`s and `LogLikelihood`s.
Notable: what a server can do is seen by one tiny request (`probe`), not by its name. Where it cannot be held
to a beginning (vLLM's ``allowed_token_ids``), the required text is put at the prompt's end instead: no token
healing, which the description says. Scores: ``prompt_logprobs``, else ``echo``, else an error.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from codefilter.errors import PromptError
from codefilter.lm.base import Continuation, GenerationOptions
from codefilter.lm.remote.base import Piece, cannot_score, checked_nats, reading, spelled
from codefilter.lm.remote.connection import Connection, RefusedError, broke_off
from codefilter.lm.writing import spelling_ids
from codefilter.tokenizer import Tokenizer
from codefilter.types import FinishReason, LogLikelihood

_COMPLETIONS = "/v1/completions"
_NOT_UNDERSTOOD = (400, 415, 422)
_EXTENSIONS: dict[str, object] = {
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
    "top_k": -1,  # and the next three: a model's own defaults may say otherwise
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
_PROMPT_VALUES = "prompt_logprobs"
_ID_PREFIX = "token_id:"


@dataclass(frozen=True)
class Features:
    """What a server understands."""

    takes_ids: bool
    takes_extensions: bool  # fields that OpenAI does not have
    tells_nats: bool = False  # how likely they were
    is_vllm: bool = False  # allowed_token_ids, prompt_logprobs

    def missing(self) -> str:
        """What does not work, for people."""
        lacks = {
            "token ids": self.takes_ids,
            "token healing": self.is_vllm,
            "log-probabilities": self.tells_nats,
        }
        return "".join(f", no {what}" for what, there in lacks.items() if not there)


_ATTEMPTS = (Features(True, True), Features(True, False), Features(False, False))


class CompletionsServer:
    """A server of OpenAI's completions with one model."""

    num_parallel_scores = 8  # such servers batch what comes together

    def __init__(
        self, features: Features, model: str, tokenizer: Tokenizer, context_length: int | None
    ) -> None:
        self.model = model
        self.context_length = context_length
        name = "vLLM" if features.is_vllm else "completions"
        self.description = f"{name}{features.missing()}"
        self._features = features
        self._tokenizer = tokenizer

    @classmethod
    async def probe(
        cls, connection: Connection, model: str, tokenizer: Tokenizer, context_length: int | None
    ) -> CompletionsServer:
        """Find out what a server understands: it writes one token."""
        prompt_ids = tokenizer.encode("a = ")
        for features in _ATTEMPTS:
            server = cls(features, model, tokenizer, context_length)
            body = server._body(prompt_ids, GenerationOptions(), 1) | {"logprobs": 1}
            if features.takes_extensions:
                body |= {_PROMPT_VALUES: 1}
            try:
                answer = await connection.post(_COMPLETIONS, body)
            except RefusedError as error:
                if error.status in _NOT_UNDERSTOOD and features is not _ATTEMPTS[-1]:
                    continue
                raise
            with reading(_COMPLETIONS):
                choice = answer["choices"][0]
                found = replace(
                    features,
                    tells_nats=bool((choice.get("logprobs") or {}).get("token_logprobs")),
                    is_vllm=len(choice.get(_PROMPT_VALUES) or ()) == len(prompt_ids),
                )
            return cls(found, model, tokenizer, context_length)
        raise AssertionError("the last attempt returns or raises")

    async def write(
        self, connection: Connection, prompt_ids: Sequence[int], options: GenerationOptions
    ) -> AsyncGenerator[Piece]:
        """See `RemoteServer.write`."""
        ids, left = list(prompt_ids), options.max_new_tokens
        before: Piece | None = None  # what stands in the prompt, but belongs to the output
        missing = options.required_text.encode()
        if missing and not self._features.is_vllm:
            required_ids = self._tokenizer.encode(options.required_text)
            ids, before, missing = [*ids, *required_ids], Piece(missing, tuple(required_ids)), b""
            left = max(0, left - len(required_ids))
        while missing and left:
            allowed = {"allowed_token_ids": spelling_ids(self._tokenizer, missing)}
            answer = await connection.post(_COMPLETIONS, self._body(ids, options, 1) | allowed)
            with reading(_COMPLETIONS):
                (piece,) = self._pieces(answer["choices"][0])
            yield piece
            ids, left = [*ids, *piece.token_ids], left - 1
            missing = missing[len(piece.data) :] if missing.startswith(piece.data) else b""
        if not left:
            if before is not None:
                yield before
            return
        body = self._body(ids, options, left) | {"stream": True}
        async with aclosing(connection.events(_COMPLETIONS, body)) as events:
            async for event in events:
                with reading(_COMPLETIONS):
                    choice = event["choices"][0] if event["choices"] else {}  # none: figures of use
                    pieces, reason = self._pieces(choice), choice.get("finish_reason")
                for piece in [before, *pieces] if before is not None else pieces:
                    yield piece
                before = None
                if reason:
                    yield Piece(b"", finish=FinishReason.LENGTH if reason == "length" else FinishReason.END)
                    return
        raise broke_off(self.description)

    async def score(
        self, connection: Connection, context: Sequence[int], continuation: Continuation
    ) -> LogLikelihood:
        """See `RemoteServer.score`. The server may compute the context anew for every continuation."""
        if not self._features.takes_ids:
            raise cannot_score(self.description, "it takes no token ids")
        ids = [*context, *continuation.token_ids]
        targets = slice(len(ids) - continuation.num_targets, len(ids))
        body = self._body(ids, GenerationOptions(), 1)  # none would do, but not every server allows that
        if self._features.is_vllm:
            answer = await connection.post(_COMPLETIONS, body | {_PROMPT_VALUES: 1})
            with reading(_COMPLETIONS):
                tables = answer["choices"][0][_PROMPT_VALUES][targets]
                values = [t[str(i)]["logprob"] for t, i in zip(tables, ids[targets], strict=True)]
        else:
            answer = await connection.post(_COMPLETIONS, body | {"echo": True, "logprobs": 1})
            with reading(_COMPLETIONS):
                told = (answer["choices"][0].get("logprobs") or {}).get("token_logprobs") or []
                if len(told) not in (len(ids), len(ids) + 1) or None in told[targets]:
                    raise cannot_score(self.description, "it does not tell them with echo and logprobs")
                values = told[targets]
        numbers = checked_nats(values, continuation.num_targets)
        return LogLikelihood(sum(numbers), numbers)

    def _body(
        self, prompt_ids: Sequence[int], options: GenerationOptions, max_new_tokens: int
    ) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self.model,
            "prompt": list(prompt_ids) if self._features.takes_ids else self._text(prompt_ids),
            "max_tokens": max_new_tokens,
            "temperature": options.temperature,
        }
        if options.temperature > 0:
            body["seed"] = options.seed
        if self._features.tells_nats:
            body["logprobs"] = 1
        if self._features.takes_extensions:
            body |= _EXTENSIONS
        return body

    def _text(self, prompt_ids: Sequence[int]) -> str:
        text = self._tokenizer.spell(prompt_ids)
        if text is None:
            raise PromptError(
                "a file in the prompt has the name of a control token, which a server that takes text obeys",
                hint="Use a server that takes token ids: vLLM or llama-server.",
            )
        return text

    def _pieces(self, choice: Any) -> list[Piece]:
        """What a part of an answer adds: a piece per token where the server names them."""
        values = (choice.get("logprobs") or {}).get("token_logprobs") or []
        ids = _written_ids(choice)
        if ids is None:
            text = choice.get("text", "")
            nats = checked_nats(values, len(values))
            return [Piece(text.encode(), tuple(self._tokenizer.encode(text)), nats)] if text else []
        nats = checked_nats(values, len(ids) if self._features.tells_nats else 0)
        return [
            Piece(spelled(self._tokenizer, token_id), (token_id,), nats[position : position + 1])
            for position, token_id in enumerate(ids)
        ]


def _written_ids(choice: Any) -> list[int] | None:
    """Ids of the tokens that a part of an answer adds, or None where the server does not name them."""
    named = choice.get("token_ids")
    if named is None:
        tokens = (choice.get("logprobs") or {}).get("tokens") or []
        if not tokens or not all(str(token).startswith(_ID_PREFIX) for token in tokens):
            return None
        named = [token.removeprefix(_ID_PREFIX) for token in tokens]
    return [int(token) for token in named]

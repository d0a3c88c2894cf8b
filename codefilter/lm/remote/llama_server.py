"""llama-server's own protocol (llama.cpp): token ids both ways, grammars, and its cache of the last prompt.

In: token ids. Out: `Piece`s and `LogLikelihood`s, one request each. What is required, and what is scored, is
a grammar: it restricts which token is taken, while the probabilities told are those without it.
Source: tools/server/README.md and grammars/README.md of llama.cpp; tried with build b11434.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import PureWindowsPath
from typing import Any

from codefilter.lm.base import Continuation, GenerationOptions
from codefilter.lm.remote.base import Piece, cannot_score, checked_nats, reading, spelled
from codefilter.lm.remote.connection import Connection, RefusedError, broke_off
from codefilter.tokenizer import Tokenizer
from codefilter.types import FinishReason, LogLikelihood

_COMPLETION = "/completion"
# only what we ask for, whatever the server was started with; probabilities are those before sampling
_PLAIN_SAMPLING = {"samplers": ["temperature"], "n_probs": 1, "cache_prompt": True}
_FINISH = {"limit": FinishReason.LENGTH, "eos": FinishReason.END}


class LlamaServer:
    """A llama-server with one model."""

    num_parallel_scores = 1  # the context stays in one slot's cache

    def __init__(self, props: Any, model: str, tokenizer: Tokenizer) -> None:
        """Make one from what ``/props`` says, and the name of the model ("" for the only one)."""
        with reading("/props"):
            self.context_length: int | None = int(props["default_generation_settings"]["n_ctx"]) or None
            self.description = f"llama-server {props.get('build_info', '')}".strip()
            path, alias = props["model_path"], props.get("model_alias")
            # without an alias of its own a model goes by its path, which is nobody's business
            self.model = model or str(alias if alias not in (None, "", path) else PureWindowsPath(path).name)
        self._routing = {"model": model} if model else {}  # one server may have several models
        self._tokenizer = tokenizer

    async def write(
        self, connection: Connection, prompt_ids: Sequence[int], options: GenerationOptions
    ) -> AsyncGenerator[Piece]:
        """See `RemoteServer.write`."""
        body = self._routing | _PLAIN_SAMPLING
        body |= {
            "prompt": list(prompt_ids),
            "n_predict": options.max_new_tokens,
            "temperature": options.temperature,
            "seed": options.seed,
            "stream": True,
            "timings_per_token": True,  # tells what was reused, before we may hang up
        }
        if options.required_text:
            body["grammar"] = f"root ::= {_literal(options.required_text)} [\\x00-\\U0010FFFF]*"
        async with aclosing(connection.events(_COMPLETION, body)) as events:
            async for event in events:
                with reading(_COMPLETION):
                    reused = int(event.get("timings", {}).get("cache_n", 0))
                    if event["stop"]:
                        finish = _FINISH.get(event["stop_type"], FinishReason.STOP)
                        yield Piece(b"", num_reused_tokens=reused, finish=finish)
                        return
                    piece = self._piece(event, reused)
                yield piece
        raise broke_off(self.description)

    async def score(
        self, connection: Connection, context: Sequence[int], continuation: Continuation
    ) -> LogLikelihood:
        """See `RemoteServer.score`. Writes the targets under a grammar that allows nothing else."""
        first = len(continuation.token_ids) - continuation.num_targets
        targets = list(continuation.token_ids[first:])
        body = self._routing | _PLAIN_SAMPLING
        body |= {
            "prompt": [*context, *continuation.token_ids[:first]],
            "n_predict": len(targets),
            "temperature": 0,
            "return_tokens": True,
            "grammar": "root ::= " + " ".join(f"<[{token_id}]>" for token_id in targets),
        }
        try:
            answer = await connection.post(_COMPLETION, body)
        except RefusedError as error:
            if "grammar" in error.message:
                raise cannot_score(self.description, "its grammars know no tokens, it is too old") from error
            raise
        with reading(_COMPLETION):
            written, told = answer["tokens"], answer["completion_probabilities"]
            if written != targets:
                raise cannot_score(self.description, "it did not keep to the text")
            if len(told) < len(targets):
                reason = "it tells nothing of tokens that end inside a character"
                raise cannot_score(self.description, reason)
            values = checked_nats([token["logprob"] for token in told], len(targets))
        return LogLikelihood(sum(values), values)

    def _piece(self, event: Any, reused: int) -> Piece:
        """A token; several where a character took more than one: then only the last one's number is told."""
        (token_id,) = event["tokens"]
        (told,) = event["completion_probabilities"]
        values = checked_nats([told["logprob"]], 1)
        data, content = spelled(self._tokenizer, token_id), event["content"].encode()
        if len(content) > len(data):
            return Piece(content, tuple(self._tokenizer.encode(event["content"])), values, reused)
        return Piece(data, (token_id,), values, reused)


def _literal(text: str) -> str:
    """A text as a grammar writes it."""
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08X}" for c in text) + '"'

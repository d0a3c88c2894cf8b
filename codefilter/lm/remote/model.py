"""The remote engine: a `LanguageModel` whose weights are on a server that the user named.

In: ``remote:URL``. Out: a `LanguageModel`. Its outputs end by the same rules as a local engine's, applied
here: a token that ends the output closes the connection, and with it the server's work.
Notable: nobody can check a server's weights from here. The identity says so, and is a hash of the address
and the model's name, unless the user vouches for a sha256.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from codefilter.errors import ModelError
from codefilter.lm import decoding
from codefilter.lm.base import Cancellation, Continuation, Generation, GenerationOptions
from codefilter.lm.remote.base import Piece, RemoteServer
from codefilter.lm.remote.connection import Connection, Patience, run
from codefilter.lm.remote.discovery import discover
from codefilter.lm.remote.endpoint import endpoint_tokenizer, parse_endpoint, read_key
from codefilter.lm.writing import Output
from codefilter.types import FinishReason, LogLikelihood

_UNKNOWN_CONTEXT_LENGTH = 1 << 20  # then the server refuses what is too long


class RemoteLanguageModel:
    """A server behind the `LanguageModel` interface. Calls from threads without a running event loop."""

    def __init__(self, name: str, patience: Patience | None = None) -> None:
        """Contact the server.

        Args:
            name: ``remote:URL``, with ``?model=``, ``&tokenizer=`` and ``&sha256=`` where needed.
            patience: how long to wait and how often to try.

        Raises:
            UsageError: not such a name, or the server has several models.
            ModelMissingError: the tokenizer's model has to be pulled first.
            ModelError: the server cannot be reached, or its tokenizer is another one.
        """
        self._endpoint = parse_endpoint(name)
        self._key = read_key()
        self._patience = patience or Patience()
        self.tokenizer, family = endpoint_tokenizer(self._endpoint)
        self._server, checked = run(self._discover(family))
        self.identity = self._endpoint.identity(self._server.model, family)
        self.context_length = self._server.context_length or _UNKNOWN_CONTEXT_LENGTH
        unchecked = "" if checked else ", tokenizer not compared"
        self.description = f"remote, {self._endpoint.base_url}, {self._server.description}{unchecked}"
        self._read: tuple[int, ...] = ()  # what the server is taken to hold: the last prompt

    def log_likelihoods(
        self,
        context: Sequence[int],
        continuations: Sequence[Continuation],
        cancellation: Cancellation | None = None,
    ) -> list[LogLikelihood]:
        """See `LanguageModel.log_likelihoods`. Without entropies: no server tells whole distributions.

        Raises:
            ModelError: also where the server cannot score a given text.
        """
        decoding.split_context(context, continuations, self.context_length)
        if cancellation is not None:
            cancellation.raise_if_cancelled()
        self._read = ()
        return run(self._scores(context, continuations), cancellation)

    def forget(self) -> None:
        """See `LanguageModel.forget`; a server that keeps one prompt keeps another one now."""
        self.generate(self.tokenizer.encode("#")[-1:], GenerationOptions(max_new_tokens=1))

    def generate(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        cancellation: Cancellation | None = None,
    ) -> list[Generation]:
        """See `LanguageModel.generate`.

        A server that takes only text tells no token ids: then they are those of the text written. Where it
        tells no log-probabilities, the log-likelihood is empty.
        """
        decoding.check_prompt(prompt_ids, options, self.context_length)
        if cancellation is not None:
            cancellation.raise_if_cancelled()
        self._read = self._read[: self.reusable_tokens(prompt_ids)]  # left where the request is stopped
        candidates = run(self._candidates(prompt_ids, options), cancellation)
        self._read = tuple(prompt_ids)
        return candidates

    def reusable_tokens(self, prompt_ids: Sequence[int]) -> int:
        """See `LanguageModel.reusable_tokens`; no server tells, and most keep what they read last."""
        return decoding.common_prefix_length(self._read, prompt_ids)

    def _connect(self) -> Connection:
        return Connection(self._endpoint, self._key, self._patience)

    async def _discover(self, family: str) -> tuple[RemoteServer, bool]:
        async with self._connect() as connection:
            return await discover(connection, self._endpoint, self.tokenizer, family)

    async def _scores(
        self, context: Sequence[int], continuations: Sequence[Continuation]
    ) -> list[LogLikelihood]:
        limit = asyncio.Semaphore(self._server.num_parallel_scores)

        async def score(continuation: Continuation) -> LogLikelihood:
            if not continuation.num_targets:
                return LogLikelihood(0.0, ())
            async with limit:
                return await self._server.score(connection, context, continuation)

        async with self._connect() as connection:
            return list(await asyncio.gather(*map(score, continuations)))

    async def _candidates(self, prompt_ids: Sequence[int], options: GenerationOptions) -> list[Generation]:
        count = options.num_candidates if options.temperature > 0 else 1
        async with self._connect() as connection:
            seeded = [replace(options, seed=options.seed + index) for index in range(count)]
            return list(await asyncio.gather(*(self._candidate(connection, prompt_ids, o) for o in seeded)))

    async def _candidate(
        self, connection: Connection, prompt_ids: Sequence[int], options: GenerationOptions
    ) -> Generation:
        started = time.perf_counter()
        async with aclosing(self._server.write(connection, prompt_ids, options)) as pieces:
            piece = await anext(pieces)
            prompt_seconds = time.perf_counter() - started
            reused = piece.num_reused_tokens
            output = Output(options)
            while not self._add(piece, output):
                piece = await anext(pieces)
        return output.result(reused, prompt_seconds)

    def _add(self, piece: Piece, output: Output) -> bool:
        """Add a piece to an output; True where that ends."""
        if piece.finish is not None or not self.tokenizer.control_ids.isdisjoint(piece.token_ids):
            output.end(piece.finish or FinishReason.END)
            return True
        ended = output.append(piece.data, piece.token_ids, piece.log_probabilities)
        if not output.keeps_to_required:
            raise ModelError(
                f"{self._endpoint.base_url} did not begin as it was told",
                hint="Its sampling options have no effect: check how the server was started.",
            )
        return ended

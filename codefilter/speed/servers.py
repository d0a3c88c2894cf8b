"""A llama-server as a baseline: the same token ids, as many tokens written, at its best settings.

In: ``remote:URL``. Out: seconds per request. Not the remote engine: that one asks for probabilities, streams
every token, and heals by grammar, all of which costs the server time that a comparison must not count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from codefilter.errors import ModelError, UsageError
from codefilter.lm.base import LanguageModel
from codefilter.lm.remote.base import reading
from codefilter.lm.remote.connection import Connection, Patience, run
from codefilter.lm.remote.discovery import check_tokenizer
from codefilter.lm.remote.endpoint import is_remote, parse_endpoint, read_key


class LlamaServerBaseline:
    """A running llama-server with the same weights."""

    def __init__(self, name: str) -> None:
        """Contact the server.

        Raises:
            UsageError: the name is not one of a server.
            ModelError: it does not answer, or is no llama-server.
        """
        if not is_remote(name):
            raise UsageError(
                f"{name!r} is no server", hint="For example: --server remote:http://127.0.0.1:8080"
            )
        self._endpoint = parse_endpoint(name)
        props = run(self._ask("GET", "/props", None))
        with reading("/props"):
            build, weights = str(props["build_info"]), PurePath(str(props["model_path"])).name
            context = int(props["default_generation_settings"]["n_ctx"])
        self.description = f"llama-server {build}, {weights}, context {context}"

    def check(self, model: LanguageModel) -> None:
        """`ModelError` where the server's tokenizer is another than the model's."""

        async def check() -> None:
            async with self._connect() as connection:
                await check_tokenizer(connection, "", model.tokenizer, model.identity.family)

        run(check())

    def seconds(self, prompt_ids: Sequence[int], num_tokens: int, *, reuse: bool) -> float:
        """Time to read a prompt and write exactly so many tokens, one answer at the end.

        Args:
            prompt_ids: what to read.
            num_tokens: how many tokens to write, though the model would end before.
            reuse: keep what is already read of the prompt (the server's own cache).

        Raises:
            ModelError: it did not read and write just that.
        """
        body = {
            "prompt": list(prompt_ids),
            "n_predict": num_tokens,
            "ignore_eos": True,
            "temperature": 0,
            "samplers": ["top_k"],
            "top_k": 1,
            "cache_prompt": reuse,
        }
        started = time.perf_counter()
        answer = run(self._ask("POST", "/completion", body))
        seconds = time.perf_counter() - started
        with reading("/completion"):
            done = int(answer["tokens_evaluated"]), int(answer["tokens_predicted"])
        if done != (len(prompt_ids), num_tokens):
            raise ModelError(
                f"the server read {done[0]} tokens and wrote {done[1]} of {len(prompt_ids)} and {num_tokens}",
                hint="Start it with a longer context: -c 8192.",
            )
        return seconds

    async def _ask(self, method: str, path: str, body: object) -> Any:
        async with self._connect() as connection:
            return await (connection.get(path) if method == "GET" else connection.post(path, body))

    def _connect(self) -> Connection:
        return Connection(self._endpoint, read_key(), Patience())

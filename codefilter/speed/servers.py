"""A llama-server as a baseline: the same token ids, as many tokens written, at its best settings.

In: ``remote:URL``. Out: seconds per request. Not the remote engine: that one asks for probabilities, streams
every token, and heals by grammar, all of which costs the server time that a comparison must not count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from codefilter.lm.remote.connection import Connection, Patience, run
from codefilter.lm.remote.endpoint import parse_endpoint, read_key


class LlamaServerBaseline:
    """A running llama-server with the same weights."""

    def __init__(self, name: str) -> None:
        """Contact the server; `ModelError` where it does not answer or is no llama-server."""
        self._endpoint = parse_endpoint(name)
        self.description = f"llama-server {run(self._ask('GET', '/props', None))['build_info']}"

    def seconds(self, prompt_ids: Sequence[int], num_tokens: int, *, reuse: bool) -> float:
        """Time to read a prompt and write exactly so many tokens, one answer at the end.

        Args:
            prompt_ids: what to read.
            num_tokens: how many tokens to write, though the model would end before.
            reuse: keep what is already read of the prompt (the server's own cache).
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
        run(self._ask("POST", "/completion", body))
        return time.perf_counter() - started

    async def _ask(self, method: str, path: str, body: object) -> dict[str, str]:
        async with Connection(self._endpoint, read_key(), Patience()) as connection:
            answer: dict[str, str] = await (
                connection.get(path) if method == "GET" else connection.post(path, body)
            )
            return answer

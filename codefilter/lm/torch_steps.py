"""Passes over a few tokens, recorded as CUDA graphs: a token costs one launch, not hundreds.

In: token ids and where they stand. Out: logits. One graph for each of a few numbers of tokens; a
number between is filled up, and what is too much lies behind the end of the sequence, where it is overwritten
before anything can attend to it.
Notable: what a family's code does in a pass decides whether it can be recorded. So one is recorded when the
model is loaded, and must give the logits of a plain pass; otherwise the engine does without.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from codefilter.lm.lookup import MAX_DRAFT_TOKENS

_SIZES = (1, 2, 3, 5, 1 + MAX_DRAFT_TOKENS)  # tokens of a pass: the last one written, and a draft

Pass = Callable[[], Tensor]
Record = Callable[[Pass], Pass]  # the pass → what replays it


class Run(Protocol):
    """A pass of the model over tokens at given places of a cache's buffers."""

    def __call__(self, token_ids: Tensor, slots: Tensor) -> Tensor:
        """Logits after each, float32 (tokens, vocabulary); both arguments are (tokens,)."""


class Steps:
    """Recorded passes over one cache; to be thrown away where its buffers move."""

    def __init__(self, run: Run, device: torch.device, record: Record) -> None:
        self._run = run
        self._device = device
        self._record = record
        self._recorded: dict[int, tuple[Tensor, Tensor, Pass]] = {}

    @staticmethod
    def room(num_tokens: int) -> int | None:
        """For how many tokens there must be room to read so many; None where they are too many."""
        return next((size for size in _SIZES if size >= num_tokens), None)

    def forward(self, token_ids: Sequence[int], start: int) -> Tensor:
        """Read tokens that stand from `start` on; logits after each, (tokens, vocabulary).

        They are overwritten by the next call.
        """
        number = len(token_ids)
        size = self.room(number)
        assert size is not None
        if size not in self._recorded:
            ids, slots = (torch.zeros(size, dtype=torch.long, device=self._device) for _ in range(2))
            slots += torch.arange(start, start + size, device=self._device)
            self._recorded[size] = ids, slots, self._record(lambda: self._run(ids, slots))
        ids, slots, replay = self._recorded[size]
        ids[:number].copy_(torch.tensor(token_ids))
        slots.copy_(torch.arange(start, start + size))
        return replay()[:number]


def record_graph(device: torch.device, run: Pass) -> Pass:
    """Record a pass as a graph of a CUDA device.

    Raises:
        RuntimeError: it does something that cannot be recorded, or there is no memory for it.
    """
    stream = _stream(device)
    with torch.cuda.device(device):
        stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(stream):  # around it all: a recording that fails does not leave it
                run()
                with _no_waiting():
                    run()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    logits = run()
        finally:
            torch.cuda.current_stream().wait_stream(stream)

    def replay() -> Tensor:
        with torch.cuda.device(device):
            graph.replay()
        return logits

    return replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """On which passes are recorded: for each stream cuBLAS keeps memory of its own."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def _no_waiting() -> Iterator[None]:
    """What waits for the device is an error; while a graph is recorded, it would break more than that."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mode does not find everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)

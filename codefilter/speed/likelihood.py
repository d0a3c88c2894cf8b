"""How much the shared context saves when many continuations are scored.

In: a model folder. Out: a `LikelihoodTiming` per context length. Baseline: plain transformers with its own
SDPA attention, every context and continuation as one sequence, all of them in one batch (they are equally
long, so nothing is padded), logits at the target positions only, the same number type.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from codefilter.lm.base import Continuation, ModelIdentity
from codefilter.lm.torch_lm import TorchLanguageModel, choose_device, choose_dtype

CHUNKS = 10
CHUNK_TOKENS = 150
TARGET_TOKENS = 25


@dataclass(frozen=True)
class LikelihoodTiming:
    """Medians over repeats, in seconds, for one task of ten chunks."""

    context_tokens: int
    shared_seconds: float
    naive_seconds: float
    ratio: float  # naive / shared
    mean_difference_nats: float  # between the two, per target token


def measure_likelihoods(
    folder: Path, identity: ModelIdentity, context_lengths: Sequence[int] = (640, 1536), repeats: int = 3
) -> list[LikelihoodTiming]:
    """Score ten continuations behind random token contexts, both ways."""
    model = TorchLanguageModel(folder, identity)
    device = choose_device("auto")
    naive: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=choose_dtype("auto", device), attn_implementation="sdpa"
    )
    naive.to(device)
    timings = []
    for length in context_lengths:
        generator = random.Random(length)
        context = [generator.randrange(256, 50_000) for _ in range(length)]
        continuations = [
            Continuation(
                tuple(generator.randrange(256, 50_000) for _ in range(CHUNK_TOKENS + TARGET_TOKENS)),
                TARGET_TOKENS,
            )
            for _ in range(CHUNKS)
        ]

        def score_shared(
            context: list[int] = context, continuations: list[Continuation] = continuations
        ) -> list[list[float]]:
            model.log_likelihoods([1, 2], [Continuation((3,), 1)])  # nothing is left from the last repeat
            return [list(r.per_token) for r in model.log_likelihoods(context, continuations)]

        def score_naive(
            context: list[int] = context, continuations: list[Continuation] = continuations
        ) -> list[list[float]]:
            return _score_naive(naive, device, context, continuations)

        shared_seconds, shared = _timed(score_shared, repeats)
        naive_seconds, expected = _timed(score_naive, repeats)
        differences = [
            abs(a - b) for p, q in zip(shared, expected, strict=True) for a, b in zip(p, q, strict=True)
        ]
        timings.append(
            LikelihoodTiming(
                length,
                shared_seconds,
                naive_seconds,
                naive_seconds / shared_seconds,
                statistics.mean(differences),
            )
        )
    return timings


@torch.inference_mode()
def _score_naive(
    model: torch.nn.Module, device: torch.device, context: list[int], continuations: list[Continuation]
) -> list[list[float]]:
    ids = torch.tensor([[*context, *c.token_ids] for c in continuations], device=device)  # (chunks, tokens)
    logits = (
        model(ids, logits_to_keep=TARGET_TOKENS + 1).logits[:, :-1].float()
    )  # (chunks, targets, vocabulary)
    chosen = logits.gather(2, ids[:, -TARGET_TOKENS:].unsqueeze(2)).squeeze(2)
    scores: list[list[float]] = (chosen - logits.logsumexp(dim=2)).tolist()
    return scores


def _timed(work: Callable[[], list[list[float]]], repeats: int) -> tuple[float, list[list[float]]]:
    seconds, result = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), result

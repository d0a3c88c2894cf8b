"""How much the shared context saves when many continuations are scored.

In: a model folder, engines by name. Out: a `LikelihoodTiming` per context length and engine. Baseline: plain
transformers with its own SDPA attention, every context and continuation as one sequence, all of them in one
batch (they are equally long, so nothing is padded), logits at the target positions only, in the dtype that
`choose_dtype` picks.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from codefilter.lm.base import Continuation, LanguageModel
from codefilter.lm.torch_loading import choose_device, choose_dtype

CHUNKS = 10
CHUNK_TOKENS = 150
TARGET_TOKENS = 25
_SMALLEST_ID = 256  # of random tokens


@dataclass(frozen=True)
class LikelihoodTiming:
    """Medians over repeats, in seconds, for one task of ten chunks."""

    engine: str
    context_tokens: int
    shared_seconds: float
    naive_seconds: float
    ratio: float  # naive / shared
    mean_difference_nats: float  # between the two, per target token


def measure_likelihoods(
    folder: Path,
    load: Callable[[str], LanguageModel],
    engines: Sequence[str],
    context_lengths: Sequence[int] = (640, 1536),
    repeats: int = 3,
) -> list[LikelihoodTiming]:
    """Score ten continuations behind random token contexts, both ways.

    Args:
        folder: of the model.
        load: makes the engine of a name.
        engines: names.
        context_lengths: in tokens.
        repeats: of every measurement.
    """
    device = choose_device("auto")
    naive: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=choose_dtype("auto", device), attn_implementation="sdpa", trust_remote_code=False
    )
    naive.to(device)
    tasks = [_random_task(length, naive.config.vocab_size) for length in context_lengths]
    expected = [_timed(partial(_score_naive, naive, device, *task), repeats) for task in tasks]
    del naive
    timings = []
    for engine in engines:
        model = load(engine)
        for (context, continuations), (naive_seconds, scores) in zip(tasks, expected, strict=True):
            shared_seconds, shared = _timed(partial(_score_shared, model, context, continuations), repeats)
            differences = [
                abs(a - b) for p, q in zip(shared, scores, strict=True) for a, b in zip(p, q, strict=True)
            ]
            timings.append(
                LikelihoodTiming(
                    model.description,
                    len(context),
                    shared_seconds,
                    naive_seconds,
                    naive_seconds / shared_seconds,
                    statistics.mean(differences),
                )
            )
    return timings


def _random_task(length: int, vocabulary: int) -> tuple[list[int], list[Continuation]]:
    generator = random.Random(length)

    def draw(count: int) -> list[int]:
        return [generator.randrange(_SMALLEST_ID, min(vocabulary, 50_000)) for _ in range(count)]

    context = draw(length)
    return context, [
        Continuation(tuple(draw(CHUNK_TOKENS + TARGET_TOKENS)), TARGET_TOKENS) for _ in range(CHUNKS)
    ]


def _score_shared(
    model: LanguageModel, context: list[int], continuations: list[Continuation]
) -> list[list[float]]:
    model.forget()
    return [list(r.per_token) for r in model.log_likelihoods(context, continuations)]


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

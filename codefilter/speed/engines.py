"""How fast an engine reads and writes, and how far it is from plain transformers.

In: a model folder, engines by name, source text. Out: an `EngineTiming` per engine. Baseline: transformers
with eager attention in the dtype that `choose_dtype` picks, one token at a time, on the same token ids.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache

from codefilter.errors import UsageError
from codefilter.lm.base import Continuation, GenerationOptions, LanguageModel
from codefilter.lm.torch_loading import choose_device, choose_dtype
from codefilter.tokenizer import Tokenizer

TARGET_TOKENS = 64
NEW_TOKENS = 32
_FEW_TOKENS = 4  # seconds of so short an output tell no rate


@dataclass(frozen=True)
class EngineTiming:
    """Medians over places of real source text."""

    engine: str
    load_seconds: float
    prompt_tokens: int
    prompt_tokens_per_second: float
    new_tokens_per_second: float  # without drafts
    drafted_tokens_per_second: float  # with drafts from the prompt
    prompt_ratio: float  # to the baseline
    new_ratio: float
    slowest_and_fastest: dict[str, tuple[float, float]]  # of the places, by the three rates above
    mean_difference_nats: float  # of a target token's log-likelihood from the baseline's


def measure_engines(
    folder: Path,
    load: Callable[[str], LanguageModel],
    engines: Sequence[str],
    texts: Sequence[str],
    prompt_tokens: int = 1024,
) -> list[EngineTiming]:
    """Read `prompt_tokens` of every text, score what follows, write `NEW_TOKENS`.

    Args:
        folder: of the model.
        load: makes the engine of a name.
        engines: names.
        texts: source files; those too short for prompt and target are left out.
        prompt_tokens: per text.

    Raises:
        UsageError: no text is long enough, or an engine hardly writes anything.
    """
    encode = Tokenizer.from_folder(folder).encode
    enough = prompt_tokens + TARGET_TOKENS
    places = [ids for text in texts if len(ids := encode(text)) >= enough]
    if not places:
        raise UsageError(
            f"none of {len(texts)} files has {enough} tokens", hint="Choose a --package with longer files."
        )
    device = choose_device("auto")
    started = time.perf_counter()
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=choose_dtype("auto", device), attn_implementation="eager", trust_remote_code=False
    )
    model.to(device).eval()
    load_seconds = time.perf_counter() - started
    expected: list[list[float]] = []
    reading, writing = [], []
    _plain(model, device, places[0][: _FEW_TOKENS + TARGET_TOKENS], _FEW_TOKENS)  # prepares kernels
    for ids in places:
        scores, read_seconds, write_seconds = _plain(model, device, ids, prompt_tokens)
        expected.append(scores)
        reading.append(prompt_tokens / read_seconds)
        writing.append(NEW_TOKENS / write_seconds)
    base_read, base_write = statistics.median(reading), statistics.median(writing)
    name = f"transformers, eager, {str(model.dtype).removeprefix('torch.')}"
    ranges = _ranges(reading, writing, writing)
    timings = [
        EngineTiming(
            name, load_seconds, prompt_tokens, base_read, base_write, base_write, 1.0, 1.0, ranges, 0.0
        )
    ]
    del model
    for engine in engines:
        started = time.perf_counter()
        timings.append(
            _measure(load(engine), started, places, prompt_tokens, expected, (base_read, base_write))
        )
    return timings


def _measure(
    model: LanguageModel,
    load_started: float,
    places: Sequence[list[int]],
    prompt_tokens: int,
    expected: Sequence[list[float]],
    baseline: tuple[float, float],
) -> EngineTiming:
    load_seconds = time.perf_counter() - load_started
    model.generate([1], GenerationOptions(max_new_tokens=1))  # the first one of a process prepares kernels
    reading: list[float] = []
    writing: list[float] = []
    drafted: list[float] = []
    differences: list[float] = []
    for ids, scores in zip(places, expected, strict=True):
        prompt = ids[:prompt_tokens]
        model.forget()
        # drafts first: an output that is remembered is a perfect draft of itself
        for speculate, rates in ((True, drafted), (False, writing)):
            options = GenerationOptions(max_new_tokens=NEW_TOKENS, speculate=speculate)
            generation = model.generate(prompt, options)[0]
            if speculate:
                read_tokens = prompt_tokens - generation.num_reused_tokens  # a server may have read some
                reading.append(read_tokens / generation.prompt_seconds)
            if len(generation.token_ids) > _FEW_TOKENS:
                rates.append(len(generation.token_ids) / generation.decode_seconds)
        target = Continuation(tuple(ids[prompt_tokens : prompt_tokens + TARGET_TOKENS]), TARGET_TOKENS)
        result = model.log_likelihoods(prompt, [target])[0]
        differences += [abs(a - b) for a, b in zip(result.per_token, scores, strict=True)]
    if not (writing and drafted):
        raise UsageError(
            f"{model.description} wrote at most {_FEW_TOKENS} tokens after each of {len(places)} files",
            hint="Choose another --package, or more files with --limit.",
        )
    read, write = statistics.median(reading), statistics.median(writing)
    return EngineTiming(
        model.description,
        load_seconds,
        prompt_tokens,
        read,
        write,
        statistics.median(drafted),
        read / baseline[0],
        write / baseline[1],
        _ranges(reading, writing, drafted),
        statistics.mean(differences),
    )


def _ranges(
    reading: Sequence[float], writing: Sequence[float], drafted: Sequence[float]
) -> dict[str, tuple[float, float]]:
    named = {"prompt": reading, "new": writing, "drafted": drafted}
    return {name: (min(rates), max(rates)) for name, rates in named.items()}


@torch.inference_mode()
def _plain(
    model: Any, device: torch.device, ids: list[int], prompt_tokens: int
) -> tuple[list[float], float, float]:
    """Log-likelihoods of what follows the prompt; seconds to read it and to write after it."""
    started = time.perf_counter()
    prompt = torch.tensor([ids[:prompt_tokens]], device=device)
    cache, last_row = DynamicCache(), torch.tensor([prompt_tokens - 1], device=device)
    logits = model(prompt, cache=cache, use_cache=True, logits_to_keep=last_row).logits
    logits[0, -1, 0].item()  # a GPU has computed it by then
    read_seconds = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(NEW_TOKENS):
        logits = model(logits[:, -1:].argmax(-1), cache=cache, use_cache=True).logits
    logits[0, -1, 0].item()
    write_seconds = time.perf_counter() - started
    whole = torch.tensor([ids[: prompt_tokens + TARGET_TOKENS]], device=device)
    rows = torch.arange(prompt_tokens - 1, prompt_tokens + TARGET_TOKENS - 1, device=device)
    scores = model(whole, use_cache=False, logits_to_keep=rows).logits[0].float().log_softmax(-1)
    targets = whole[0, prompt_tokens:].unsqueeze(1)
    return scores.gather(1, targets).squeeze(1).tolist(), read_seconds, write_seconds

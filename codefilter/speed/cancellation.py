"""How soon a cancelled request stops while the model reads a long prompt.

In: a loaded model. Out: a `CancellationTiming`. Baseline: the time that a whole prompt takes (the median of
three, behind one that is not measured), which is how long a request would go on that nothing could stop.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from dataclasses import dataclass

from codefilter.errors import CancelledError, UsageError
from codefilter.lm.base import Cancellation, GenerationOptions, LanguageModel

PROMPT_TOKENS = 2048


@dataclass(frozen=True)
class CancellationTiming:
    """Seconds from the call of ``cancel`` to the error that ends the request."""

    prompt_tokens: int
    repeats: int  # requests that were to be cancelled
    requests: int  # those of them that were: others had ended before
    median_seconds: float
    worst_seconds: float
    whole_prompt_seconds: float  # uncancelled


def measure_cancellation(model: LanguageModel, repeats: int = 20) -> CancellationTiming:
    """Cancel at random moments of the prompt; every prompt is new, so nothing of it is there already.

    Raises:
        UsageError: every request had ended before its moment.
    """
    generator = random.Random(0)
    vocabulary = min(50_000, model.tokenizer.vocabulary_size)

    def prompt() -> list[int]:
        return [generator.randrange(256, vocabulary) for _ in range(PROMPT_TOKENS)]

    def read_whole() -> float:
        started = time.perf_counter()
        model.generate(prompt(), GenerationOptions(max_new_tokens=1))
        return time.perf_counter() - started

    read_whole()  # the first one of a process prepares kernels
    whole_seconds = statistics.median(read_whole() for _ in range(3))
    waits = []
    for _ in range(repeats):
        cancellation = Cancellation()
        cancelled_at: list[float] = []

        def cancel(flag: Cancellation = cancellation, times: list[float] = cancelled_at) -> None:
            times.append(time.perf_counter())
            flag.cancel()

        threading.Timer(generator.uniform(0.1, 0.8) * whole_seconds, cancel).start()
        try:
            model.generate(prompt(), GenerationOptions(max_new_tokens=1), cancellation)
        except CancelledError:
            waits.append(time.perf_counter() - cancelled_at[0])
    if not waits:
        raise UsageError(
            f"none of {repeats} requests was cancelled before it ended; a whole prompt took "
            f"{whole_seconds:.3f} seconds",
            hint="Give more --repeats, or a slower model or engine.",
        )
    return CancellationTiming(
        PROMPT_TOKENS, repeats, len(waits), statistics.median(waits), max(waits), whole_seconds
    )

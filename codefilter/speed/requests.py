"""Completion requests from nothing: nothing of the prompt is read, retrieval and filter included.

In: a loaded model, tasks by repository, filters by name, a llama-server where there is one. Out: a
`RequestTiming` per filter, and one for prompts of exactly 1,000 tokens. Baselines: the first filter on the
same task, and llama-server behind the same retrieval, with the same token ids and as many tokens written.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from codefilter.completion import Completer, PreparedPrompt, generation_options
from codefilter.lm.base import Cancellation, GenerationOptions, LanguageModel
from codefilter.speed.servers import LlamaServerBaseline
from codefilter.speed.spread import Spread
from codefilter.types import CompletionRequest, CompletionTask

FIXED_PROMPT_TOKENS = 1000
FIXED_NEW_TOKENS = 15


@dataclass(frozen=True)
class TimedRequest:
    """One request from its place in a file to its text."""

    prompt_tokens: int
    reused_tokens: int
    new_tokens: int
    prepare_seconds: float  # retrieve, filter, build the prompt
    read_seconds: float
    write_seconds: float
    text: str
    baseline_seconds: float | None  # llama-server, what was prepared included

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.prepare_seconds + self.read_seconds + self.write_seconds


@dataclass(frozen=True)
class RequestTiming:
    """Requests of one kind with one filter; medians where nothing else is said."""

    kind: str
    filter: str
    requests: int
    prompt_tokens: float
    reused_tokens: float
    new_tokens: float
    prepare_seconds: float
    read_seconds: float
    write_seconds: float
    seconds: Spread
    baseline: Spread | None  # llama-server
    baseline_ratio: float | None  # of llama-server's seconds to these, request by request
    first_filter_ratio: float | None  # of the first filter's seconds to these, task by task
    hits: int = 0  # more requests, answered by what was suggested before, and not counted
    points: tuple[tuple[int, float, float | None], ...] = field(default=(), repr=False)
    # of every request: tokens to read, seconds, llama-server's

    @classmethod
    def of(
        cls,
        kind: str,
        filter_name: str,
        timed: Sequence[TimedRequest],
        first: Sequence[TimedRequest] = (),
        hits: int = 0,
    ) -> RequestTiming:
        """Sum up requests; `first` are those of the first filter at the same places."""
        baseline = [one.baseline_seconds for one in timed if one.baseline_seconds is not None]
        pairs = list(zip(first, timed, strict=True)) if first else []
        return cls(
            kind,
            filter_name,
            len(timed),
            statistics.median(one.prompt_tokens for one in timed),
            statistics.median(one.reused_tokens for one in timed),
            statistics.median(one.new_tokens for one in timed),
            statistics.median(one.prepare_seconds for one in timed),
            statistics.median(one.read_seconds for one in timed),
            statistics.median(one.write_seconds for one in timed),
            Spread.of([one.seconds for one in timed]),
            Spread.of(baseline) if baseline else None,
            statistics.median(one.baseline_seconds / one.seconds for one in timed if one.baseline_seconds)
            if baseline
            else None,
            statistics.median(a.seconds / b.seconds for a, b in pairs) if pairs else None,
            hits,
            tuple(
                (one.prompt_tokens - one.reused_tokens, one.seconds, one.baseline_seconds) for one in timed
            ),
        )


def measure_cold(
    model: LanguageModel,
    places: Sequence[tuple[CompletionTask, Callable[[str], Completer]]],
    filters: Sequence[str],
    server: LlamaServerBaseline | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[RequestTiming]:
    """Complete every place with every filter, one right after the other.

    A prompt of which something is read already, by the filter or in a server's cache, is not counted.

    Args:
        model: completes.
        places: tasks, each with what makes a completer of a filter's name in its repository.
        filters: names; the first one's seconds are what the others are compared with.
        server: is asked the same, each time right after the model.
        progress: is told of every place.
    """
    warm_up(model, server)
    timed: dict[str, list[TimedRequest]] = {name: [] for name in filters}
    fixed: list[TimedRequest] = []
    for number, (task, completer_with) in enumerate(places):
        progress(f"{number + 1}/{len(places)} {task.task_id}")
        for name in filters:
            model.forget()
            timed[name].append(complete(model, completer_with(name), task.request, server, reuse=False))
        ids = model.tokenizer.encode(task.request.prefix)[-FIXED_PROMPT_TOKENS:]
        if len(ids) == FIXED_PROMPT_TOKENS:
            model.forget()
            options = GenerationOptions(max_new_tokens=FIXED_NEW_TOKENS)
            fixed.append(ask(model, ids, options, 0.0, server, reuse=False))
    rows = []
    for name in filters:
        pairs = [
            pair for pair in zip(timed[filters[0]], timed[name], strict=True) if not pair[1].reused_tokens
        ]
        if pairs:
            rows.append(RequestTiming.of("cold", name, [b for _, b in pairs], [a for a, _ in pairs]))
    if fixed:
        rows.append(RequestTiming.of(f"cold, {FIXED_PROMPT_TOKENS:,} in, {FIXED_NEW_TOKENS} out", "-", fixed))
    return rows


def complete(
    model: LanguageModel,
    completer: Completer,
    request: CompletionRequest,
    server: LlamaServerBaseline | None,
    *,
    reuse: bool,
) -> TimedRequest:
    """Answer a request."""
    return answer(model, request, completer.prepare(request), server, reuse=reuse)


def answer(
    model: LanguageModel,
    request: CompletionRequest,
    prepared: PreparedPrompt,
    server: LlamaServerBaseline | None,
    *,
    reuse: bool,
) -> TimedRequest:
    """Let the model, and then the server, continue a prepared prompt."""
    options = generation_options(request, prepared.prompt)
    seconds = sum(prepared.stage_seconds.values())
    return ask(model, prepared.prompt.token_ids, options, seconds, server, reuse=reuse)


def ask(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    options: GenerationOptions,
    prepare_seconds: float,
    server: LlamaServerBaseline | None,
    *,
    reuse: bool,
) -> TimedRequest:
    """The same for token ids; the server writes as many tokens as the model did, at least one."""
    cancellation = Cancellation() if reuse else None  # who types may cancel
    started = time.perf_counter()
    generation = model.generate(prompt_ids, options, cancellation)[0]
    seconds = time.perf_counter() - started
    new_tokens = len(generation.token_ids)
    baseline = (
        prepare_seconds + server.seconds(prompt_ids, max(1, new_tokens), reuse=reuse) if server else None
    )
    return TimedRequest(
        len(prompt_ids),
        generation.num_reused_tokens,
        new_tokens,
        prepare_seconds,
        generation.prompt_seconds,
        seconds - generation.prompt_seconds,
        generation.text,
        baseline,
    )


def warm_up(model: LanguageModel, server: LlamaServerBaseline | None) -> None:
    """Read one long prompt that is not measured: the first one of a process prepares kernels."""
    ids = model.tokenizer.encode("value = other(value)\n" * 200)[:FIXED_PROMPT_TOKENS]
    ask(model, ids, GenerationOptions(max_new_tokens=2), 0.0, server, reuse=False)

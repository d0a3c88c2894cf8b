"""Whether engines write the same: a fast one must not be a worse one.

In: engines by name, real completion tasks with their prompts. Out: an `EngineAgreement` per engine. Baseline:
the first engine, on the same token ids.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codefilter.completion import generation_options
from codefilter.likelihood import target_continuation
from codefilter.lm.base import LanguageModel
from codefilter.metrics import METRIC_FAMILY, score
from codefilter.types import CompletionTask, Prompt


@dataclass(frozen=True)
class EngineAgreement:
    """Means over tasks."""

    engine: str
    tasks: int
    edit_similarity: float  # to the truth
    exact_match: float
    edit_similarity_difference: float  # from the first engine's
    same_text: int  # completions that are the first engine's, letter by letter
    nats_per_token: float  # of the truth
    mean_difference_nats: float  # of a target token's log-likelihood from the first engine's


@dataclass(frozen=True)
class _Outcome:
    text: str
    edit_similarity: float
    exact_match: bool
    per_token: tuple[float, ...]


def measure_agreement(
    load: Callable[[str], LanguageModel],
    engines: Sequence[str],
    places: Sequence[tuple[CompletionTask, Prompt]],
    progress: Callable[[str], None] = lambda text: None,
) -> list[EngineAgreement]:
    """Complete every task with every engine, and score its truth.

    Args:
        load: makes the engine of a name; one is loaded at a time.
        engines: names, the baseline first.
        places: tasks with what is read; all engines get the same token ids.
        progress: is told of every task.
    """
    rows: list[EngineAgreement] = []
    first: list[_Outcome] = []
    for engine in engines:
        model = load(engine)
        outcomes = []
        for number, (task, prompt) in enumerate(places):
            progress(f"{engine} {number + 1}/{len(places)} {task.task_id}")
            outcomes.append(_outcome(model, task, prompt))
        first = first or outcomes
        similarity = statistics.mean(o.edit_similarity for o in outcomes)
        pairs = list(zip(first, outcomes, strict=True))
        rows.append(
            EngineAgreement(
                model.description,
                len(outcomes),
                similarity,
                100 * statistics.mean(o.exact_match for o in outcomes),
                similarity - statistics.mean(o.edit_similarity for o in first),
                sum(a.text == b.text for a, b in pairs),
                statistics.mean(nats for o in outcomes for nats in o.per_token),
                statistics.mean(
                    abs(x - y) for a, b in pairs for x, y in zip(a.per_token, b.per_token, strict=True)
                ),
            )
        )
        del model
    return rows


def _outcome(model: LanguageModel, task: CompletionTask, prompt: Prompt) -> _Outcome:
    text = model.generate(prompt.token_ids, generation_options(task.request, prompt))[0].text
    scores = score(METRIC_FAMILY, text, task)
    truth = target_continuation(prompt, task.target, model.tokenizer)
    per_token = model.log_likelihoods(prompt.token_ids, [truth])[0].per_token
    return _Outcome(text, scores.edit_similarity, scores.exact_match, per_token)

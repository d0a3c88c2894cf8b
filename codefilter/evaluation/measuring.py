"""One task under one prompt: what the model writes, how good it is, how likely the truth is.

In: prepared prompts of a task. Out: `TaskResult`s. Notable: everything is remembered by the prompt's tokens,
so that two arms with the same prompt share the computation and have the same figures to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from codefilter.completion import Completer, PreparedPrompt
from codefilter.evaluation.arms import Arm
from codefilter.evaluation.results import ChunkUse, TaskResult
from codefilter.likelihood import target_continuation
from codefilter.lm.base import LanguageModel
from codefilter.metrics import is_valid_in_place, score, writes_on
from codefilter.postprocess import Place, clean
from codefilter.strategies import DRAFT
from codefilter.types import Completion, CompletionRequest, CompletionTask, FinishReason, Prompt, content_hash


class PromptMemory:
    """What prompts led to, for one task: each is computed once, whichever arms have it."""

    def __init__(
        self, task: CompletionTask, model: LanguageModel, finished: dict[str, TaskResult], family: str
    ) -> None:
        self._task = task
        self._model = model
        self._family = family  # of metrics
        self._completions: dict[str, Completion] = {}
        self._finished = finished  # results by prompt, of earlier runs too

    def completion(
        self, request: CompletionRequest, prepared: PreparedPrompt, completer: Completer
    ) -> Completion:
        """What the model writes after a prompt; the seconds of reading and writing are the first time's."""
        key = prompt_id(prepared.prompt)
        if key not in self._completions:
            self._completions[key] = completer.generate(request, prepared)[0]
        known = self._completions[key]
        return replace(
            known,
            decisions=prepared.decisions,
            prompt=prepared.prompt,
            stage_seconds={**prepared.stage_seconds, **_model_seconds(known.stage_seconds)},
        )

    def result(
        self,
        arm: Arm,
        request: CompletionRequest,
        prepared: PreparedPrompt,
        completer: Completer,
        *,
        write: bool,
    ) -> TaskResult:
        """The arm's result: its own decisions and seconds, and what its prompt leads to.

        `request` is what the arm was asked; what it wrote is judged by the task.
        """
        key = prompt_id(prepared.prompt)
        known = self._finished.get(key)
        if known is None or arm.postprocess:
            known = self._measure(key, arm, request, prepared, completer, write=write)
            if not arm.postprocess:
                self._finished[key] = known
        return replace(
            known,
            arm=arm.name,
            seconds=_all_seconds(prepared.stage_seconds, known.seconds),
            candidates=len(prepared.decisions),
            kept=len(prepared.prompt.chunk_ids),
            chunks=_chunk_uses(prepared),
        )

    def _measure(
        self,
        key: str,
        arm: Arm,
        request: CompletionRequest,
        prepared: PreparedPrompt,
        completer: Completer,
        *,
        write: bool,
    ) -> TaskResult:
        """Complete and score; the target's likelihood is taken under the very same prompt."""
        task, prompt = self._task, prepared.prompt
        completion = self.completion(request, prepared, completer) if write else None
        continuation = target_continuation(prompt, task.target, self._model.tokenizer)
        likelihood = self._model.log_likelihoods(prompt.token_ids, [continuation])[0]
        text = None
        if completion is not None:
            text = _cleaned(completion, request) if arm.postprocess else completion.text
        scores = score(self._family, text, task) if text is not None else None
        ends_there = arm.postprocess or not writes_on(self._family, task)  # else it may end anywhere
        return TaskResult(
            task_id=task.task_id,
            repository=task.repository,
            level=task.level.value,
            language=task.request.language,
            arm=arm.name,
            target=task.target,
            prediction=text,
            exact_match=float(scores.exact_match) if scores is not None else None,
            edit_similarity=scores.edit_similarity if scores is not None else None,
            identifier_exact_match=float(scores.identifier_exact_match) if scores is not None else None,
            identifier_f1=scores.identifier_f1 if scores is not None else None,
            valid_in_place=is_valid_in_place(text, task) if text is not None and ends_there else None,
            finish_reason=completion.finish_reason.value if completion is not None else None,
            target_nats=likelihood.total_nats,
            target_tokens=likelihood.num_tokens,
            prompt_id=key,
            prompt_tokens=prompt.num_tokens,
            reused_tokens=completion.num_reused_tokens if completion is not None else 0,
            cross_file_tokens=prompt.num_cross_file_tokens,
            candidates=0,
            kept=0,
            seconds=completion.stage_seconds if completion is not None else {},
            chunks=(),
        )


def prompt_id(prompt: Prompt) -> str:
    """Sixteen hex digits that name a prompt by its tokens and its healed text."""
    return content_hash(f"{prompt.token_ids} {prompt.healed_text}")[:16]


def _model_seconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """The stages that depend on nothing but the prompt, whichever arm they were measured for."""
    named = {"write": seconds[DRAFT], **seconds} if DRAFT in seconds else seconds
    return {stage: named[stage] for stage in ("read", "write") if stage in named}


def _all_seconds(prepared: Mapping[str, float], measured: Mapping[str, float]) -> dict[str, float]:
    """An arm's own stages and the model's; behind a draft that stands nothing more is written."""
    return dict(prepared) if DRAFT in prepared else {**prepared, **_model_seconds(measured)}


def _cleaned(completion: Completion, request: CompletionRequest) -> str:
    cut_off = completion.finish_reason is FinishReason.LENGTH
    return clean(Place.of(request), completion.text, cut_off=cut_off).text


def _chunk_uses(prepared: PreparedPrompt) -> tuple[ChunkUse, ...]:
    used = set(prepared.prompt.chunk_ids)
    return tuple(
        ChunkUse(
            chunk_id=decision.candidate.chunk.chunk_id,
            path=decision.candidate.chunk.path,
            start_line=decision.candidate.chunk.start_line,
            end_line=decision.candidate.chunk.end_line,
            score=decision.candidate.score,
            keep=decision.keep,
            used=decision.candidate.chunk.chunk_id in used,
            polarity=decision.polarity.value,
            confidence=decision.confidence,
            reason=decision.reason,
            impact=decision.impact,
        )
        for decision in prepared.decisions
    )

"""Impact labels: what each retrieved chunk does to the likelihood of the true completion.

In: a `CompletionTask`, its candidates, control chunks. Out: a `LabeledExample`: the target's log-likelihood
without chunks, with each chunk, with each control and with all chunks; impact and polarity of every chunk
(CODEFILTER, arXiv 2508.05970, section 3); and the same along a short draft that the model writes without
chunks, which is all that a filter can know of the target.

Notable: a raw impact holds an effect that any added text has (two thirds of the "positives" of one layout
were given to unrelated chunks as well). So every task carries controls, and polarity is given to the impact
above their mean. Raw values are kept beside.
Notable: prompts are scored one after the other, and target and draft behind each share its computation. The
engine keeps the last prompt's keys and values, so a layout with the chunks behind the in-file text computes
that text once for all chunks, and here nothing has to know about layouts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from codefilter.completion import Completer
from codefilter.controls import ControlChunk, ControlRepository, draw_controls
from codefilter.filters.base import USUAL_CANDIDATES
from codefilter.filters.drafts import DRAFT_TOKENS
from codefilter.likelihood import target_continuation
from codefilter.lm.base import (
    Continuation,
    GenerationOptions,
    HiddenStateModel,
    LanguageModel,
    no_hidden_states,
)
from codefilter.types import (
    CompletionTask,
    LogLikelihood,
    Polarity,
    Prompt,
    RetrievedChunk,
)

CONTROL_RETRIEVER = "control"
# What labels are made with where nobody says otherwise. Fewer tokens before and behind the hole than a
# completion has give cleaner labels, and cheaper ones: signal to noise 5.4 against 4.1 with 512 + 128
# (choose-label-settings.json).
LABEL_DEFAULTS: Mapping[str, int] = MappingProxyType(
    {"prefix_tokens": 256, "suffix_tokens": 64, "num_candidates": USUAL_CANDIDATES}
)


@dataclass(frozen=True)
class LabelOptions:
    """What a label is made of, besides the settings of prompts and retrieval."""

    num_controls: int = 3
    draft_tokens: int = DRAFT_TOKENS
    positive_threshold: float = 0.2  # T_p, corrected mean nats per target token
    negative_threshold: float = -0.2  # T_n
    seed: int = 0


@dataclass(frozen=True)
class PromptStates:
    """Hidden states under one prompt, 16 bit: what the model's output matrix reads."""

    prompt: NDArray[np.float16]  # (hidden,), at the prompt's last token, which predicts the first of the text
    draft: NDArray[np.float16]  # (hidden,), mean over the tokens of the draft; zeros where that is empty


@dataclass(frozen=True)
class Reading:
    """What the model makes of target and draft under one prompt."""

    target: LogLikelihood
    draft: LogLikelihood  # of the tokens that the model wrote without chunks
    prompt_tokens: int
    cross_file_tokens: int
    states: PromptStates | None = field(default=None, compare=False)  # where they were asked for


@dataclass(frozen=True)
class Impact:
    """What one chunk changes; CODEFILTER's ``l(X, c) - l(X)`` in three units, and above the controls."""

    mean_nats: float  # per target token: the paper's
    total_nats: float  # of the whole target
    relative: float  # change over the baseline's size: 0.5 where the chunk explains half of its nats
    corrected_nats: float  # `mean_nats` less the mean of the task's controls


@dataclass(frozen=True)
class LabeledChunk:
    """A candidate or a control, with its label."""

    candidate: RetrievedChunk  # of a control: score 0, retriever "control"
    repository: str
    version: str
    reading: Reading
    impact: Impact
    polarity: Polarity


@dataclass(frozen=True)
class LabeledExample:
    """One task with all its labels."""

    task: CompletionTask
    in_file_start_line: int
    draft_token_ids: tuple[int, ...]
    baseline: Reading  # no chunks
    everything: Reading  # all candidates that fit the budget, in prompt order
    chunks: tuple[LabeledChunk, ...]  # by rank
    controls: tuple[LabeledChunk, ...]
    stage_seconds: dict[str, float]

    @property
    def control_mean_nats(self) -> float:
        """Mean impact of the controls, nats per target token: what any text does here."""
        return _mean([control.impact.mean_nats for control in self.controls])

    @property
    def control_spread_nats(self) -> float:
        """Standard deviation of the controls' impacts (n - 1); 0 for fewer than two."""
        impacts = [control.impact.mean_nats for control in self.controls]
        return float(np.std(impacts, ddof=1)) if len(impacts) > 1 else 0.0


class Labeler:
    """Labels tasks of one repository with one model."""

    def __init__(
        self,
        completer: Completer,
        model: LanguageModel,
        control_repositories: Mapping[str, ControlRepository],
        options: LabelOptions = LabelOptions(),
        *,
        keep_states: bool = False,
    ) -> None:
        """Make a labeler.

        Args:
            completer: retrieves and builds prompts; its filter must keep all candidates.
            model: reads.
            control_repositories: whose chunks are controls.
            options: of labels.
            keep_states: the model's hidden states too, which changes no number.

        Raises:
            ModelError: the model does not give hidden states.
        """
        self._state_model: HiddenStateModel | None = None
        if keep_states:
            if not isinstance(model, HiddenStateModel):
                raise no_hidden_states(model.identity.name, model.description)
            self._state_model = model
        self._completer = completer
        self._model = model
        self._control_repositories = control_repositories
        self._options = options

    def label(self, task: CompletionTask) -> LabeledExample:
        """Measure one task.

        Raises:
            FewControlsError: other repositories do not give as many controls as are wanted.
            ModelError: a prompt is longer than the model's context.
        """
        clock = _Clock()
        in_file = self._completer.cut_in_file(task.request)

        def prompt_with(chunks: Sequence[RetrievedChunk]) -> Prompt:
            return self._completer.measuring_prompt(task.request, in_file, chunks)

        found = self._completer.retrieve(task.request, in_file)
        candidates = [one for one in found if prompt_with([one]).chunk_ids]  # else it is over the budget
        controls = self._draw_controls(task, candidates)
        clock.lap("retrieve")
        alone = prompt_with([])
        draft = self._write_draft(alone)
        clock.lap("draft")
        baseline = self._read(alone, task.target, draft)
        clock.lap("baseline")
        readings = [self._read(prompt_with([candidate]), task.target, draft) for candidate in candidates]
        clock.lap("chunks")
        unrelated = [
            RetrievedChunk(control.chunk, 0.0, rank, CONTROL_RETRIEVER)
            for rank, control in enumerate(controls)
        ]
        control_readings = [self._read(prompt_with([chunk]), task.target, draft) for chunk in unrelated]
        clock.lap("controls")
        everything = self._read(prompt_with(candidates), task.target, draft)
        clock.lap("all")

        floor = _mean([_mean_impact(baseline, reading) for reading in control_readings])
        return LabeledExample(
            task=task,
            in_file_start_line=in_file.start_line,
            draft_token_ids=draft,
            baseline=baseline,
            everything=everything,
            chunks=tuple(
                self._labeled(candidate, task.repository, task.provenance.version, baseline, reading, floor)
                for candidate, reading in zip(candidates, readings, strict=True)
            ),
            controls=tuple(
                self._labeled(chunk, control.repository, control.version, baseline, reading, floor)
                for chunk, control, reading in zip(unrelated, controls, control_readings, strict=True)
            ),
            stage_seconds=clock.seconds,
        )

    def _draw_controls(
        self, task: CompletionTask, candidates: Sequence[RetrievedChunk]
    ) -> list[ControlChunk]:
        """Controls as long as the short, the middle and the long ones of the candidates."""
        tokenizer, count = self._model.tokenizer, self._options.num_controls
        lengths = sorted(len(tokenizer.encode(candidate.chunk.text)) for candidate in candidates)
        wanted = [lengths[int((i + 0.5) / count * len(lengths))] for i in range(count)] if lengths else []
        return draw_controls(self._control_repositories, task, wanted, tokenizer, self._options.seed)

    def _write_draft(self, prompt: Prompt) -> tuple[int, ...]:
        options = GenerationOptions(
            max_new_tokens=self._options.draft_tokens, required_text=prompt.healed_text
        )
        return self._model.generate(prompt.token_ids, options)[0].token_ids

    def _read(self, prompt: Prompt, target: str, draft: tuple[int, ...]) -> Reading:
        continuations = [
            target_continuation(prompt, target, self._model.tokenizer),
            Continuation(draft, len(draft)),
        ]
        target_likelihood, draft_likelihood = self._model.log_likelihoods(prompt.token_ids, continuations)
        return Reading(
            target_likelihood,
            draft_likelihood,
            prompt.num_tokens,
            prompt.num_cross_file_tokens,
            self._states(prompt, draft),
        )

    def _states(self, prompt: Prompt, draft: tuple[int, ...]) -> PromptStates | None:
        if self._state_model is None:
            return None
        states = self._state_model.hidden_states([*prompt.token_ids, *draft], 1 + len(draft))
        along = states[1:].mean(axis=0) if draft else np.zeros_like(states[0])
        return PromptStates(_half(states[0]), _half(along))

    def _labeled(
        self,
        candidate: RetrievedChunk,
        repository: str,
        version: str,
        baseline: Reading,
        reading: Reading,
        floor_nats: float,
    ) -> LabeledChunk:
        impact = measure_impact(baseline.target, reading.target, floor_nats)
        return LabeledChunk(
            candidate, repository, version, reading, impact, polarity_of(impact.corrected_nats, self._options)
        )


def measure_impact(baseline: LogLikelihood, with_chunk: LogLikelihood, floor_nats: float) -> Impact:
    """Impact of a chunk on a target; `floor_nats` is the mean impact of the task's controls, per token."""
    total = with_chunk.total_nats - baseline.total_nats
    mean = with_chunk.mean_nats - baseline.mean_nats
    size = abs(baseline.total_nats)
    return Impact(mean, total, total / size if size > 0 else 0.0, mean - floor_nats)


def polarity_of(corrected_nats: float, options: LabelOptions) -> Polarity:
    """CODEFILTER, section 3: above T_p positive, below T_n negative, else neutral."""
    if corrected_nats > options.positive_threshold:
        return Polarity.POSITIVE
    return Polarity.NEGATIVE if corrected_nats < options.negative_threshold else Polarity.NEUTRAL


def _mean_impact(baseline: Reading, reading: Reading) -> float:
    return reading.target.mean_nats - baseline.target.mean_nats


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    limit = float(np.finfo(np.float16).max)
    return np.clip(values, -limit, limit).astype(np.float16)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


class _Clock:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now

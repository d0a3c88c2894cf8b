"""The paper's adaptive filter: a tuned model reads chunk after chunk, says what each is, and when to stop.

In: a request and its candidates. Out: decisions with the probabilities of what the model said (CODEFILTER,
arXiv 2508.05970, section 4). The model is the filter's own, whatever completes: it needs no reader and no
index. It is trained by ``train generative``, with the completion behind <EC>, so that it could complete as
well; here the generator does, behind a prompt of the layout that was chosen, with the chunks that were kept.
Notable: a pass of the model for every chunk costs a second or more for ten chunks on a CPU. What the last
request shares (the file's text before the cursor) is not read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from codefilter.config import Settings
from codefilter.errors import UsageError
from codefilter.filters.arguments import parse_number
from codefilter.filters.base import FilterContext, Need
from codefilter.filters.control_tokens import NAMES
from codefilter.filters.generative_reading import Judgement, Reading, read_chunks, reading_text
from codefilter.filters.trained import filter_folder
from codefilter.filters.tuned import FORM, TunedFilter, load_tuned
from codefilter.types import (
    CompletionRequest,
    FilterDecision,
    Polarity,
    PolarityProbabilities,
    RetrievedChunk,
)


class GenerativeFilter:
    """Keeps the chunks that a tuned model calls positive before it has enough."""

    needs: frozenset[Need] = frozenset()

    def __init__(
        self, tuned: TunedFilter, settings: Settings, thresholds: tuple[float, float] | None = None
    ) -> None:
        """`thresholds`, of <MC> and of <pos>, replace the manifest's; `settings` say where the model runs."""
        self._tuned = tuned
        self._settings = settings
        self._given = thresholds
        manifest = tuned.manifest
        self._more_from, self._positive_from = thresholds or (manifest.more_from, manifest.positive_from)
        self.usual_candidates = manifest.shape.max_chunks
        self.max_candidates: int | None = manifest.shape.max_chunks

    @property
    def weights_sha256(self) -> str:
        """Of the adapter."""
        return self._tuned.manifest.weights_sha256

    @property
    def name(self) -> str:
        """As `--filter` takes it."""
        return FORM if self._given is None else f"{FORM}:{self._given[0]:g},{self._given[1]:g}"

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Keep what is called positive; the first call loads the model.

        Raises:
            FilterError: the model that was tuned is not here.
            ModelError: the text is longer than its context.
        """
        if not candidates:
            return []
        order = sorted(range(len(candidates)), key=lambda i: candidates[i].rank)
        reading = self._read(request, [candidates[i] for i in order], context)
        decided = {i: self._decide(candidates[i], place, reading) for place, i in enumerate(order)}
        return [decided[i] for i in range(len(candidates))]

    def _read(
        self, request: CompletionRequest, ordered: Sequence[RetrievedChunk], context: FilterContext
    ) -> Reading:
        model, manifest = self._tuned.load(self._settings), self._tuned.manifest
        chunks = [candidate.chunk for candidate in ordered]
        return read_chunks(
            reading_text(request, chunks, model.tokenizer, model.identity.family, manifest.shape),
            manifest.control,
            lambda ids: model.next_logits(ids, context.cancellation),
            more_from=self._more_from,
            positive_from=self._positive_from,
        )

    def _decide(self, candidate: RetrievedChunk, place: int, reading: Reading) -> FilterDecision:
        if place < len(reading.judgements):
            return self._judged(candidate, reading.judgements[place])
        if not reading.enough:
            reason = f"not read: only the first {self.max_candidates} chunks are"
            return FilterDecision(candidate, False, Polarity.UNKNOWN, 1.0, reason)
        read = len(reading.judgements)
        seen = f"after {read} chunk{'s' * (read > 1)}" if read else "without chunks"
        reason = f"not read: enough context {seen}"
        return FilterDecision(candidate, False, Polarity.UNKNOWN, reading.enough, reason)

    def _judged(self, candidate: RetrievedChunk, judgement: Judgement) -> FilterDecision:
        polarity = judgement.said(self._positive_from)
        three = PolarityProbabilities(judgement.positive, judgement.neutral, judgement.negative)
        sure = float(getattr(three, polarity.value))
        reason = f"said {NAMES[polarity]} with a probability of {sure:.0%}"
        keep = polarity is Polarity.POSITIVE
        return FilterDecision(candidate, keep, polarity, sure, reason, probabilities=three)


def parse_generative(argument: str, settings: Settings) -> GenerativeFilter:
    """``generative`` with the trained thresholds, or ``generative:0.3,0.5`` (of <MC> and of <pos>).

    In ``--arms``, where a comma begins another arm, ``generative:0.3:0.5``.

    Raises:
        UsageError: no two probabilities, or peft is not installed.
        FilterError: there are no weights, they were trained for other settings, or their model is not here.
    """
    thresholds = _thresholds(argument) if argument else None
    tuned = load_tuned(filter_folder(settings.filter_weights, FORM))
    tuned.check(settings)
    return GenerativeFilter(tuned, settings, thresholds)


def _thresholds(argument: str) -> tuple[float, float]:
    match [parse_number(part, 0, 1) for part in argument.replace(":", ",").split(",")]:
        case [float(more_from), float(positive_from)]:
            return more_from, positive_from
    raise UsageError(
        f"generative takes two probabilities from 0 to 1, not {argument!r}",
        hint="Of more context and of a positive chunk, for example: --filter generative:0.3,0.3",
    )

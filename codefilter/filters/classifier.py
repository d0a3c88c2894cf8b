"""The trained filter on text features alone: no language model is run.

In: a request, its candidates, the index. Out: decisions with calibrated probabilities of the three
polarities. It was trained on impacts (CODEFILTER, arXiv 2508.05970, section 3) above those of unrelated
chunks; it serves any generator, and costs milliseconds.
Notable: keeping nothing is a decision like others, and the usual one where no chunk is likely to help.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codefilter.config import Settings
from codefilter.errors import FilterError, UsageError
from codefilter.filters.arguments import parse_number
from codefilter.filters.base import FilterContext, Need
from codefilter.filters.features import ChunkFeatures, FeatureExtractor, Matrix, network_inputs
from codefilter.filters.networks import sigmoid
from codefilter.filters.reasons import reasons
from codefilter.filters.trained import TrainedFilter, filter_folder, load_trained
from codefilter.index import RepositoryIndex
from codefilter.types import (
    CompletionRequest,
    FilterDecision,
    Polarity,
    PolarityProbabilities,
    RetrievedChunk,
)


class ClassifierFilter:
    """Keeps the chunks that are likely enough to help."""

    needs: frozenset[Need] = frozenset({Need.INDEX})
    usual_candidates: int = 30  # each costs a millisecond, and far down nearly as many help
    max_candidates: int | None = None
    kind = "classifier"

    def __init__(self, trained: TrainedFilter, keep_from: float | None = None) -> None:
        """`keep_from` replaces the manifest's: probability of being positive from which a chunk is kept."""
        self._trained = trained
        self._given = keep_from
        self._keep_from = self._trained_keep_from() if keep_from is None else keep_from
        self._extractor: tuple[RepositoryIndex, FeatureExtractor] | None = None

    @property
    def weights_sha256(self) -> str:
        """Of its weights."""
        return self._trained.manifest.weights_sha256

    @property
    def name(self) -> str:
        """As `--filter` takes it."""
        return self.kind if self._given is None else f"{self.kind}:{self._given:g}"

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Keep what is likely enough to be positive; over the budget the likeliest stay.

        Raises:
            FilterError: there are candidates, but no index.
        """
        if not candidates:
            return []
        if context.index is None:
            raise FilterError(f"{self.name} needs the repository's index", hint="Choose another --filter.")
        features = self._extract(context.index, request, candidates, context)
        inputs = network_inputs(features.values)
        logits, notes = self._judge(inputs, candidates, context)
        manifest = self._trained.manifest
        positive = sigmoid(logits[:, self._trained.level_column(manifest.positive_level)])
        not_negative = sigmoid(logits[:, self._trained.level_column(manifest.negative_level)])
        negative = np.minimum(1 - not_negative, 1 - positive)
        kept = np.flatnonzero(positive >= self._keep_from).tolist()
        said = reasons(self._trained, inputs, features, candidates, kept)
        why = {i: f"{reason}{notes[i]}" for i, reason in zip(kept, said, strict=True)}
        return [
            self._decision(candidate, float(positive[i]), float(negative[i]), why.get(i))
            for i, candidate in enumerate(candidates)
        ]

    def _trained_keep_from(self) -> float:
        return self._trained.manifest.keep_from

    def _judge(
        self, inputs: Matrix, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> tuple[Matrix, Sequence[str]]:
        """Logits (candidates, levels), and what a reason has to say of each candidate besides."""
        return self._trained.ensemble.logits(inputs), [""] * len(candidates)

    def _extract(
        self,
        index: RepositoryIndex,
        request: CompletionRequest,
        candidates: Sequence[RetrievedChunk],
        context: FilterContext,
    ) -> ChunkFeatures:
        if self._extractor is None or self._extractor[0] is not index:
            self._extractor = (index, FeatureExtractor(index))
        return self._extractor[1].extract(request, context.in_file, candidates)

    def _decision(
        self, candidate: RetrievedChunk, positive: float, negative: float, why: str | None
    ) -> FilterDecision:
        neutral = max(0.0, 1 - positive - negative)
        probabilities = PolarityProbabilities(positive, neutral, negative)
        if why is not None:
            reason = f"{positive:.0%} likely to help: {why}"
            return FilterDecision(
                candidate, True, Polarity.POSITIVE, positive, reason, probabilities=probabilities
            )
        polarity, sure = max(
            (Polarity.NEUTRAL, neutral), (Polarity.NEGATIVE, negative), key=lambda one: one[1]
        )
        reason = f"{positive:.0%} likely to help, below the threshold of {self._keep_from:.0%}"
        return FilterDecision(candidate, False, polarity, sure, reason, probabilities=probabilities)


def parse_classifier(argument: str, settings: Settings) -> ClassifierFilter:
    """``classifier`` with the trained threshold, or ``classifier:0.4``; weights as the settings say.

    Raises:
        UsageError: no probability.
        FilterError: there are no weights, or they were trained for other settings.
    """
    return ClassifierFilter(trained_for(settings), parse_keep_from("classifier", argument))


def parse_keep_from(name: str, argument: str) -> float | None:
    """A probability from which on chunks are kept; None where the trained one is meant.

    Raises:
        UsageError: no probability.
    """
    keep_from = parse_number(argument, 0, 1)
    if argument and keep_from is None:
        raise UsageError(
            f"{name} takes a probability from 0 to 1, not {argument!r}",
            hint=f"For example: --filter {name}:0.3",
        )
    return keep_from


def trained_for(settings: Settings, *, reads: bool = False) -> TrainedFilter:
    """The weights that the settings name, for a filter that has a model read prompts or not.

    Raises:
        FilterError: there are no weights, or they were trained for other settings.
    """
    trained = load_trained(filter_folder(settings.filter_weights))
    trained.check(settings, reads=reads)
    return trained

"""The trained filter with model features: its text-feature logits, corrected by the model's own draft.

In: a request, its candidates, the index, a reader. Out: decisions, as those of `classifier`. The reader
writes a short draft without chunks and reads it again behind each chunk; how a chunk changes the likelihood
and the entropy of the draft's tokens (`DraftFeatures`) corrects the logits that `classifier` has computed.
Notable: every chunk is read once, so this costs seconds on a processor, and is for graphics cards and for
finding out what reading is worth. What a draft's likelihood says depends on the model that reads: the reader
must be the one whose impacts were learned. It depends on the prompt too, and there training and use differ:
labels show few in-file tokens (the manifest's), requests as many as the settings say, which `DraftFeatures`
do not tell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codefilter.config import Settings
from codefilter.errors import FilterError
from codefilter.filters.base import USUAL_CANDIDATES, FilterContext, Need, Reader
from codefilter.filters.classifier import ClassifierFilter, parse_keep_from, trained_for
from codefilter.filters.drafts import (
    DRAFT_TOKENS,
    DraftFeatures,
    draft_features,
    draft_matrix,
    read_draft,
)
from codefilter.filters.features import Matrix
from codefilter.filters.networks import Network
from codefilter.filters.trained import TrainedFilter
from codefilter.types import RetrievedChunk


class CrossFilter(ClassifierFilter):
    """Keeps the chunks that are likely enough to help, by their texts and by what a reader makes of them."""

    needs: frozenset[Need] = frozenset({Need.INDEX, Need.READER})
    usual_candidates: int = USUAL_CANDIDATES  # the model reads every one
    kind = "cross"

    def __init__(self, trained: TrainedFilter, keep_from: float | None = None) -> None:
        """See `ClassifierFilter`.

        Raises:
            FilterError: the weights have no model features.
        """
        if trained.cross is None or trained.manifest.cross_keep_from is None:
            raise FilterError(
                "these filter weights were trained without model features",
                hint="Use --filter classifier, or train them anew.",
            )
        self._network, self._cross_keep_from = trained.cross, trained.manifest.cross_keep_from
        super().__init__(trained, keep_from)

    def _trained_keep_from(self) -> float:
        return self._cross_keep_from

    def _judge(
        self, inputs: Matrix, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> tuple[Matrix, Sequence[str]]:
        by_text, _ = super()._judge(inputs, candidates, context)
        read = self._read(context.reader, candidates)
        notes = [f"; the model's own draft gains {one.gain:+.2f} nats per token" for one in read]
        return cross_logits(self._network, by_text, draft_matrix(read)), notes

    def _read(self, reader: Reader | None, candidates: Sequence[RetrievedChunk]) -> list[DraftFeatures]:
        if reader is None:
            raise FilterError(f"{self.name} needs a model that reads", hint="Choose another --filter.")
        manifest = self._trained.manifest
        if reader.model_sha256 != manifest.labelled_by_sha256:
            raise FilterError(
                f"{self.kind} was trained to read with {manifest.labelled_by}, not {reader.model_name}",
                hint=f"Use --model {manifest.labelled_by}, or --filter classifier, which serves any model.",
            )
        draft = reader.write_draft(DRAFT_TOKENS)
        alone = read_draft(reader, draft, [])
        return [draft_features(alone, read_draft(reader, draft, [candidate])) for candidate in candidates]


def cross_logits(network: Network, by_text: Matrix, drafts: Matrix) -> Matrix:
    """Text-feature logits (candidates, levels), (candidates, draft features) → (candidates, levels)."""
    return network.logits(network.standardise(np.concatenate([by_text, drafts], axis=1)))


def parse_cross(argument: str, settings: Settings) -> CrossFilter:
    """``cross`` with the trained threshold, or ``cross:0.4``; weights as the settings say.

    Raises:
        UsageError: no probability.
        FilterError: there are no such weights, or they were trained for other settings.
    """
    return CrossFilter(trained_for(settings, reads=True), parse_keep_from("cross", argument))

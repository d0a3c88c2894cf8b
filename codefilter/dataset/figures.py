"""What a set of labels is like: one row of figures, and how far two sets agree.

In: `ExampleRecord`s. Out: `LabelFigures`, `Agreement`. Impacts and spreads are in mean nats per target token.
Notable: unrelated chunks are judged like retrieved ones, each against the mean of the task's other controls:
a share of "positive" controls well above zero says that the labels are noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codefilter.dataset.records import ChunkRecord, ExampleRecord
from codefilter.labeling import LabelOptions
from codefilter.types import Polarity

Impacts = NDArray[np.float64]


@dataclass(frozen=True)
class LabelFigures:
    """One group of examples: a prompt setting, a level, a repository, a whole dataset."""

    name: str
    examples: int
    chunks: int
    signal_to_noise: float  # pooled within-task spread, retrieved over control
    retrieved_spread: float
    control_spread: float
    retrieved_mean: float
    control_mean: float
    positive: float  # share of chunks whose corrected impact is above T_p
    negative: float  # below T_n
    control_positive: float
    control_negative: float
    raw_positive: float  # the same by raw impacts
    raw_negative: float
    raw_control_positive: float
    raw_control_negative: float
    nats_none: float  # of the whole target, mean over tasks
    nats_all: float  # with all chunks that fit into the prompt together
    nats_best_chunk: float
    nats_best_or_none: float
    nats_best_if_positive: float  # the best chunk where its corrected impact is positive, else none
    all_worse_than_none: float  # share of tasks
    best_over_all: float  # nats of the whole target that the best chunk alone has over all together
    prompt_tokens_none: float
    prompt_tokens_one_chunk: float
    prompt_tokens_all: float
    seconds_per_task: float  # median: a machine that does something else now and then does not count
    all_fitted: int = 0  # tasks whose chunks all fitted into one prompt; of the others the last are missing
    all_worse_where_fitted: float = 0.0  # `all_worse_than_none`, share of those tasks
    all_worse_where_dropped: float = 0.0  # and of the others
    target_tokens: float = 0.0
    draft_tokens: float = 0.0


def label_figures(name: str, records: Sequence[ExampleRecord], options: LabelOptions) -> LabelFigures:
    """The figures of some examples; all zero where there are none."""
    retrieved = [array(chunk.impact for chunk in r.chunks) for r in records]
    controls = [array(chunk.impact for chunk in r.controls) for r in records]
    raw, raw_controls = joined(retrieved), joined(controls)
    corrected = joined([r - c.mean() for r, c in zip(retrieved, controls, strict=True)])
    noise = control_noise(records)
    tokens = array(len(r.baseline.target_nats) for r in records)
    none = array(r.baseline_nats for r in records)
    everything = array(sum(r.everything.target_nats) for r in records)
    fitted = np.array([r.is_everything_whole for r in records], dtype=bool)
    best = none + array(r.max() for r in retrieved) * tokens
    margins = array(r.max() - c.mean() for r, c in zip(retrieved, controls, strict=True))
    signal, floor = pooled_spread(retrieved), pooled_spread(controls)
    high, low = options.positive_threshold, options.negative_threshold
    return LabelFigures(
        name=name,
        examples=len(records),
        chunks=len(raw),
        signal_to_noise=ratio(signal, floor),
        retrieved_spread=signal,
        control_spread=floor,
        retrieved_mean=mean(raw),
        control_mean=mean(raw_controls),
        positive=mean(corrected > high),
        negative=mean(corrected < low),
        control_positive=mean(noise > high),
        control_negative=mean(noise < low),
        raw_positive=mean(raw > high),
        raw_negative=mean(raw < low),
        raw_control_positive=mean(raw_controls > high),
        raw_control_negative=mean(raw_controls < low),
        nats_none=mean(none),
        nats_all=mean(everything),
        nats_best_chunk=mean(best),
        nats_best_or_none=mean(np.maximum(best, none)),
        nats_best_if_positive=mean(np.where(margins > high, best, none)),
        all_worse_than_none=mean(everything < none),
        best_over_all=mean(best - everything),
        prompt_tokens_none=mean(array(r.baseline.prompt_tokens for r in records)),
        prompt_tokens_one_chunk=mean(array(c.reading.prompt_tokens for r in records for c in r.chunks)),
        prompt_tokens_all=mean(array(r.everything.prompt_tokens for r in records)),
        seconds_per_task=median(array(r.seconds.total for r in records)),
        all_fitted=int(fitted.sum()),
        all_worse_where_fitted=mean((everything < none)[fitted]),
        all_worse_where_dropped=mean((everything < none)[~fitted]),
        target_tokens=mean(tokens),
        draft_tokens=mean(array(len(r.draft_token_ids) for r in records)),
    )


@dataclass(frozen=True)
class Agreement:
    """How far two sets of labels agree on the same chunks, and whether their mean is the better label."""

    first: str
    second: str
    examples: int  # that both have
    chunks: int
    correlation: float  # of corrected impacts, over all chunks
    correlation_within_task: float  # of impacts centred within the task
    same_polarity: float  # share of chunks
    kappa: float  # Cohen's: agreement on polarity above chance
    positives_in_both: float  # of the first's positives, how many the second calls positive
    opposite: float  # share of chunks that one calls positive and the other negative
    mean_signal_to_noise: float  # of the mean of both sets' impacts
    everything_correlation: float | None = None  # of the raw impacts of all that fit together; None: not kept
    everything_same_sign: float | None = None  # share of tasks


def agreement(
    first: str, firsts: Iterable[ExampleRecord], second: str, seconds: Iterable[ExampleRecord]
) -> Agreement:
    """Compare two sets over the chunks that both have; their own thresholds decide polarity."""
    by_id = {record.example_id: record for record in seconds}
    pairs = [(record, by_id[record.example_id]) for record in firsts if record.example_id in by_id]
    shared = [_shared(a.chunks, b.chunks) for a, b in pairs]
    noise = [_shared(a.controls, b.controls) for a, b in pairs]
    both = [pair for task in shared for pair in task]
    raw = [_impacts(task, "impact") for task in shared]
    corrected = np.concatenate(
        [_impacts(task, "impact_corrected") for task in shared] or [np.zeros((2, 0))], 1
    )
    centred = np.concatenate([r - r.mean(1, keepdims=True) for r in raw if r.size] or [np.zeros((2, 0))], 1)
    polarities = [(a.polarity, b.polarity) for a, b in both]
    positive = [b == Polarity.POSITIVE for a, b in polarities if a == Polarity.POSITIVE]
    same = mean(array(a == b for a, b in polarities))
    opposite = {(Polarity.POSITIVE, Polarity.NEGATIVE), (Polarity.NEGATIVE, Polarity.POSITIVE)}
    together = array((a.everything_impact, b.everything_impact) for a, b in pairs).reshape(-1, 2).T
    chance = sum(
        mean(array(a == p for a, _ in polarities)) * mean(array(b == p for _, b in polarities))
        for p in Polarity
    )
    return Agreement(
        first=first,
        second=second,
        examples=len(pairs),
        chunks=len(both),
        correlation=correlation(corrected[0], corrected[1]),
        correlation_within_task=correlation(centred[0], centred[1]),
        same_polarity=same,
        kappa=ratio(same - chance, 1 - chance),
        positives_in_both=mean(array(positive)),
        opposite=mean(array(pair in opposite for pair in polarities)),
        mean_signal_to_noise=ratio(
            pooled_spread(r.mean(axis=0) for r in raw),
            pooled_spread(_impacts(task, "impact").mean(axis=0) for task in noise),
        ),
        everything_correlation=correlation(together[0], together[1]),
        everything_same_sign=mean(np.sign(together[0]) == np.sign(together[1])),
    )


def _shared(
    first: Sequence[ChunkRecord], second: Sequence[ChunkRecord]
) -> list[tuple[ChunkRecord, ChunkRecord]]:
    others = {chunk.chunk_id: chunk for chunk in second}
    return [(chunk, others[chunk.chunk_id]) for chunk in first if chunk.chunk_id in others]


def _impacts(pairs: Sequence[tuple[ChunkRecord, ChunkRecord]], name: str) -> Impacts:
    """One value of both chunks of every pair, (2, pairs)."""
    return array((getattr(a, name), getattr(b, name)) for a, b in pairs).reshape(-1, 2).T


def pooled_spread(groups: Iterable[Impacts]) -> float:
    """Standard deviation within groups, pooled: every group's own mean is taken away, n - 1 is counted."""
    filled = [group for group in groups if len(group)]
    freedom = sum(len(group) - 1 for group in filled)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in filled)
    return float(np.sqrt(squares / freedom)) if freedom > 0 else 0.0


def correlation(first: Impacts, second: Impacts) -> float:
    """Pearson's; 0 where one does not vary."""
    spread = float(first.std() * second.std()) if len(first) else 0.0
    return float(((first - first.mean()) * (second - second.mean())).mean()) / spread if spread else 0.0


def mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    """The mean; 0 of nothing."""
    return float(values.mean()) if values.size else 0.0


def median(values: Impacts) -> float:
    """The median; 0 of nothing."""
    return float(np.median(values)) if values.size else 0.0


def ratio(signal: float, noise: float) -> float:
    """Their quotient; 0 where there is no noise to compare with."""
    return signal / noise if noise > 0 else 0.0


def array(values: Iterable[object]) -> Impacts:
    """Numbers as one array."""
    return np.array(list(values), dtype=np.float64)


def joined(groups: Sequence[Impacts]) -> Impacts:
    """All groups in one array."""
    return np.concatenate(groups) if groups else np.zeros(0)


def control_noise(records: Iterable[ExampleRecord]) -> Impacts:
    """Impacts of all controls above the mean of the others of their task; a single one is left out."""
    controls = [array(chunk.impact for chunk in r.controls) for r in records]
    return joined([c - (c.sum() - c) / (len(c) - 1) for c in controls if len(c) > 1])

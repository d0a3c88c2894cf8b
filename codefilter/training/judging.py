"""How good a filter's probabilities are, on tasks whose impacts are known.

In: tasks, and for each the judged probabilities. Out: `FilterFigures`: what the targets of a filter are
declared in. Raw figures over all chunks can be won by guessing the task; so AUC is given within tasks too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codefilter.filters.features import network_inputs
from codefilter.filters.networks import Ensemble
from codefilter.training.examples import TrainingTask, Values

Labels = npt.NDArray[np.bool_]

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class ClassFigures:
    """One polarity: the chunks judged so, against those that are so."""

    precision: float
    recall: float
    share: float  # of chunks that are so


@dataclass(frozen=True)
class FilterFigures:
    """One filter on one set of tasks."""

    tasks: int
    chunks: int
    auc: float  # of positive against the rest, over all chunks
    auc_within: float  # mean over the tasks that have both
    average_precision: float
    calibration_error: float  # mean distance of probability and share over ten bins of equal numbers
    positive: ClassFigures  # "judged positive" means kept
    neutral: ClassFigures
    negative: ClassFigures
    keep_from: float
    kept: float  # share of chunks
    kept_tokens: float  # share of the tokens of all chunks
    abstains: float  # share of tasks in which nothing is kept
    negatives_kept: float  # share of negative chunks among the kept over that among all; below 1 is good
    gain: float  # nats per target token, if a set of chunks is worth its best one: see `set_value`
    gain_all: float  # measured, corrected: all candidates together that fit
    gain_oracle: float  # as `gain`, when exactly the positive chunks are kept


def auc(scores: Values, labels: Labels) -> float:
    """Area under the ROC curve: the share of pairs in the right order, ties half; 0.5 without pairs."""
    hits, misses = int(labels.sum()), int((~labels).sum())
    if not hits or not misses:
        return 0.5
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.bincount(inverse, ranks) / counts
    total = float(mean_rank[inverse][labels].sum())
    return (total - hits * (hits + 1) / 2) / (hits * misses)


def auc_within(scores: Sequence[Values], labels: Sequence[Labels]) -> float:
    """Mean AUC of the tasks that have both kinds of chunks: how well chunks of one task are told apart."""
    pairs = zip(scores, labels, strict=True)
    return _mean([auc(score, label) for score, label in pairs if 0 < label.sum() < len(label)])


def average_precision(scores: Values, labels: Labels) -> float:
    """Area under the precision-recall curve, as a sum of steps; 0 without positives."""
    if not labels.any():
        return 0.0
    ordered = labels[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return float(precision[ordered].mean())


def calibration(probabilities: Values, labels: Labels) -> list[tuple[float, float, int]]:
    """Mean probability, share of hits and number of chunks, in ten bins of equal numbers."""
    order = np.argsort(probabilities, kind="stable")
    bins = [part for part in np.array_split(order, CALIBRATION_BINS) if len(part)]
    return [(float(probabilities[b].mean()), float(labels[b].mean()), len(b)) for b in bins]


def set_value(task: TrainingTask, keep: Labels) -> float:
    """What a set of chunks is taken to be worth: the impact of its best one, or 0 for none.

    An estimate for choosing thresholds without a model: on the first labels all ten chunks together were
    worth about as much as the best one.
    """
    return float(task.impacts[keep].max()) if keep.any() else 0.0


def probabilities(ensemble: Ensemble, task: TrainingTask) -> Values:
    """(candidates, levels): that the impact is above each."""
    return ensemble.probabilities(network_inputs(task.features))


def judge_filter(
    tasks: Sequence[TrainingTask],
    judged: Sequence[Values],
    levels: Sequence[float],
    positive_level: float,
    negative_level: float,
    keep_from: float,
) -> FilterFigures:
    """The figures of a filter.

    Args:
        tasks: with impacts.
        judged: for each task (candidates, levels), the probability of an impact above each level.
        levels: nats per target token.
        positive_level: T_p, one of the levels.
        negative_level: T_n, one of the levels.
        keep_from: a chunk is kept from this probability of being positive on.
    """
    column, low = list(levels).index(positive_level), list(levels).index(negative_level)
    impacts = np.concatenate([task.impacts for task in tasks])
    scores = np.concatenate([one[:, column] for one in judged])
    not_negative = np.concatenate([one[:, low] for one in judged])
    positive, negative = impacts > positive_level, impacts < negative_level
    keep = scores >= keep_from
    negative_chance = np.minimum(1 - not_negative, 1 - scores)
    said_negative = ~keep & (negative_chance > np.maximum(0, 1 - scores - negative_chance))
    by_task = _split(keep, tasks)
    tokens = np.concatenate([task.cross_file_tokens for task in tasks])
    bins = calibration(scores, positive)
    error = sum(abs(chance - share) * number for chance, share, number in bins) / max(1, len(scores))
    return FilterFigures(
        tasks=len(tasks),
        chunks=len(impacts),
        auc=auc(scores, positive),
        auc_within=auc_within(
            [one[:, column] for one in judged], [task.impacts > positive_level for task in tasks]
        ),
        average_precision=average_precision(scores, positive),
        calibration_error=error,
        positive=_class_figures(keep, positive),
        neutral=_class_figures(~keep & ~said_negative, ~positive & ~negative),
        negative=_class_figures(said_negative, negative),
        keep_from=keep_from,
        kept=_share(keep),
        kept_tokens=float(tokens[keep].sum() / max(1.0, tokens.sum())),
        abstains=_mean([float(not one.any()) for one in by_task]),
        negatives_kept=_ratio(_share(negative[keep]), _share(negative)),
        gain=_mean([set_value(task, one) for task, one in zip(tasks, by_task, strict=True)]),
        gain_all=_mean([task.everything - task.floor for task in tasks]),
        gain_oracle=_mean([set_value(task, task.impacts > positive_level) for task in tasks]),
    )


def choose_threshold(
    tasks: Sequence[TrainingTask],
    scores: Sequence[Values],
    max_tokens_share: float,
) -> float:
    """The threshold under which the kept sets are worth most, among those that keep few enough tokens.

    Where even the best scores' chunks have too many, it is one that keeps nothing.
    """
    together = np.concatenate(scores)
    candidates = np.unique(np.quantile(together, np.linspace(0.3, 0.99, 70)))
    whole = sum(float(task.cross_file_tokens.sum()) for task in tasks)
    best, best_value = _nothing(together), -np.inf
    for threshold in candidates:
        keeps = [one >= threshold for one in scores]
        pairs = list(zip(tasks, keeps, strict=True))
        tokens = sum(float(task.cross_file_tokens[keep].sum()) for task, keep in pairs)
        worth = sum(set_value(task, keep) for task, keep in pairs)
        if tokens <= max_tokens_share * whole and worth > best_value:
            best, best_value = float(threshold), worth
    return best


def threshold_spending(tasks: Sequence[TrainingTask], scores: Sequence[Values], tokens_share: float) -> float:
    """The lowest threshold that keeps at most a share of all candidates' tokens; impacts do not matter."""
    together = np.concatenate(scores)
    tokens = np.concatenate([task.cross_file_tokens for task in tasks])
    for threshold in np.unique(together):
        if tokens[together >= threshold].sum() / max(1.0, tokens.sum()) <= tokens_share:
            return float(threshold)
    return _nothing(together)


def _nothing(scores: Values) -> float:
    """A threshold that keeps nothing."""
    return min(1.0, float(np.nextafter(scores.max(), np.float32(2))))


def _split(values: Labels, tasks: Sequence[TrainingTask]) -> list[Labels]:
    return np.split(values, np.cumsum([len(task.impacts) for task in tasks])[:-1])


def _class_figures(said: Labels, true: Labels) -> ClassFigures:
    both = float((said & true).sum())
    return ClassFigures(_ratio(both, float(said.sum())), _ratio(both, float(true.sum())), _share(true))


def _share(values: Labels) -> float:
    return float(values.mean()) if len(values) else 0.0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0

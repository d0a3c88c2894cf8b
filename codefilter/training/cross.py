"""Training `cross`: one layer over the text features' logits and what a chunk does to the model's draft.

In: labelled tasks with `DraftFeatures`, and the out-of-fold judgement of their text features. Out: a
`Network` of one layer, a logistic regression per level.
Notable: text features were learned from thousands of copy gains, for which nothing was read; labels are few.
So the two are stacked (Wolpert, 1992), and the layer's weights are held short.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codefilter.filters.cross import cross_logits
from codefilter.filters.features import Matrix
from codefilter.filters.networks import Network, sigmoid
from codefilter.training.examples import TrainingTask, Values
from codefilter.training.fitting import logistic

_PENALTY = 0.15  # per chunk
_SURE = 1e-5


def fit_cross(tasks: Sequence[TrainingTask], judged: Sequence[Values], levels: Sequence[float]) -> Network:
    """Train the layer.

    Args:
        tasks: labelled, with what their drafts say.
        judged: probabilities (candidates, levels) by text features, of networks that did not see the task.
        levels: nats per target token.
    """
    rows = np.concatenate([_inputs(task, by_text) for task, by_text in zip(tasks, judged, strict=True)])
    impacts = np.concatenate([task.impacts for task in tasks])
    frame = Network(rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-3), (), ())
    design = np.concatenate([frame.standardise(rows), np.ones((len(rows), 1), np.float32)], axis=1)
    penalty = np.full(design.shape[1], _PENALTY * len(rows))
    penalty[-1] = 0.0  # the offset is free
    fitted = np.stack([logistic(design, (impacts > level).astype(float), penalty) for level in levels])
    weights, offsets = fitted[:, :-1].astype(np.float32), fitted[:, -1].astype(np.float32)
    return Network(frame.mean, frame.scale, (weights,), (offsets,))


def judge_cross(network: Network, task: TrainingTask, by_text: Values) -> Values:
    """(candidates, levels): that the impact is above each, given the probabilities by text features."""
    return sigmoid(cross_logits(network, _logits(by_text), _drafts(task)))


def judge_cross_out_of_fold(
    tasks: Sequence[TrainingTask],
    judged: Sequence[Values],
    levels: Sequence[float],
    folds: Sequence[frozenset[str]],
) -> list[Values]:
    """For every task, the judgement of a layer that saw no label of its repository.

    Not nested: the probabilities by text features that it learns from are of networks that saw other folds,
    this one among them. That flatters its figures a little.
    """
    pairs = list(zip(tasks, judged, strict=True))
    found: dict[str, Values] = {}
    for fold in folds:
        seen = [(task, by_text) for task, by_text in pairs if task.repository not in fold]
        network = fit_cross([task for task, _ in seen], [by_text for _, by_text in seen], levels)
        found |= {t.task_id: judge_cross(network, t, by_text) for t, by_text in pairs if t.repository in fold}
    return [found[task.task_id] for task in tasks]


def _inputs(task: TrainingTask, by_text: Values) -> Matrix:
    return np.concatenate([_logits(by_text), _drafts(task)], axis=1)


def _drafts(task: TrainingTask) -> Matrix:
    if task.drafts is None:
        raise ValueError(f"{task.task_id} has no draft")
    return task.drafts


def _logits(chances: Values) -> Matrix:
    bounded = np.clip(chances, _SURE, 1 - _SURE)
    logits: Matrix = np.log(bounded / (1 - bounded)).astype(np.float32)
    return logits

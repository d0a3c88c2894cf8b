"""A training run as one HTML page: ROC, precision and recall, calibration, kept tokens against gain.

In: a `TrainingRecord` and the out-of-fold judgements. Out: HTML text, nothing from the network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from codefilter.coloring import page
from codefilter.plots import new_figure, to_svg
from codefilter.training.classifier import Judged, TrainingRecord
from codefilter.training.examples import Values
from codefilter.training.judging import Labels, calibration, set_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS, _OTHER = "#2166ac", "#999999"
_STYLES: dict[str, dict[str, Any]] = {"late": {"color": _OURS}, "cross": {"color": "#b2182b"}}


def training_page(record: TrainingRecord, judged: Judged) -> str:
    """One self-contained page."""
    column = record.options.levels.index(record.manifest.positive_level)
    scores = [one[:, column] for one in judged.probabilities]
    positive = np.concatenate([task.impacts > record.manifest.positive_level for task in judged.tasks])
    pooled = np.concatenate(scores)
    forms = {"late": pooled}
    if judged.cross:
        forms["cross"] = np.concatenate([one[:, column] for one in judged.cross])
    charts = {
        "ROC: positive chunks against the rest": _draw(lambda axes: _roc(axes, forms, positive)),
        "Precision and recall": _draw(lambda axes: _precision_recall(axes, forms, positive)),
        "Calibration": _draw(lambda axes: _calibration(axes, pooled, positive)),
        "Kept tokens against gain": _draw(lambda axes: _gains(axes, record, judged, scores)),
        "Learning curve": _draw(lambda axes: _curve(axes, record)),
    }
    pictures = "".join(f"<h2>{escape(title)}</h2>{svg}" for title, svg in charts.items())
    values = json.dumps(asdict(record), indent=1)
    said = (
        f"<p>{record.out_of_fold.tasks} tasks and {record.out_of_fold.chunks} chunks, each judged by "
        "networks that saw nothing of its repository.</p>"
    )
    return page("Training of the filter", f"{said}{pictures}<h2>The record</h2><pre>{escape(values)}</pre>")


def _draw(draw: Callable[[Axes], object]) -> str:
    figure, axes = new_figure()
    draw(axes)
    return to_svg(figure)


def _roc(axes: Axes, forms: Mapping[str, Values], positive: Labels) -> None:
    for name, scores in forms.items():
        ordered = positive[np.argsort(-scores, kind="stable")]
        hits, misses = np.cumsum(ordered), np.cumsum(~ordered)
        axes.plot(misses / max(1, misses[-1]), hits / max(1, hits[-1]), **_STYLES[name], label=name)
    axes.legend(frameon=False)
    axes.plot([0, 1], [0, 1], color=_OTHER, linestyle="--")
    axes.set(xlabel="share of the others taken", ylabel="share of the positive found")


def _precision_recall(axes: Axes, forms: Mapping[str, Values], positive: Labels) -> None:
    for name, scores in forms.items():
        ordered = positive[np.argsort(-scores, kind="stable")]
        hits = np.cumsum(ordered)
        found, right = hits / max(1, hits[-1]), hits / np.arange(1, len(hits) + 1)
        axes.plot(found, right, **_STYLES[name], label=name)
    axes.legend(frameon=False)
    axes.axhline(float(positive.mean()), color=_OTHER, linestyle="--")
    axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1))


def _calibration(axes: Axes, scores: Values, positive: Labels) -> None:
    bins = calibration(scores, positive)
    axes.plot([chance for chance, _, _ in bins], [share for _, share, _ in bins], "o-", color=_OURS)
    most = max(max(chance, share) for chance, share, _ in bins)
    axes.plot([0, most], [0, most], color=_OTHER, linestyle="--")
    axes.set(xlabel="probability of being positive", ylabel="share that is")


def _gains(axes: Axes, record: TrainingRecord, judged: Judged, scores: Sequence[Values]) -> None:
    """What the kept sets are worth at every threshold, against the retriever's best k."""
    whole = sum(float(task.cross_file_tokens.sum()) for task in judged.tasks)

    def point(keeps: Sequence[Labels]) -> tuple[float, float]:
        pairs = list(zip(judged.tasks, keeps, strict=True))
        tokens = sum(float(task.cross_file_tokens[keep].sum()) for task, keep in pairs)
        return 100 * tokens / whole, float(np.mean([set_value(task, keep) for task, keep in pairs]))

    thresholds = np.quantile(np.concatenate(scores), np.linspace(0, 1, 60))
    ours = [point([one >= threshold for one in scores]) for threshold in thresholds]
    ranks = [np.arange(len(task.impacts)) for task in judged.tasks]
    fixed = [point([rank < k for rank in ranks]) for k in range(record.out_of_fold.chunks and 11)]
    axes.plot(*zip(*ours, strict=True), color=_OURS, label="this filter")
    axes.plot(*zip(*fixed, strict=True), "o-", color=_OTHER, label="the retriever's first k")
    axes.axhline(record.out_of_fold.gain_oracle, color="black", linestyle=":", label="the positive ones")
    axes.set(xlabel="% of all candidates' tokens", ylabel="nats per token (best chunk of the set)")
    axes.legend(frameon=False)


def _curve(axes: Axes, record: TrainingRecord) -> None:
    tasks = [point.label_tasks for point in record.curve]
    axes.plot(tasks, [point.auc for point in record.curve], "o-", color=_OURS, label="over all chunks")
    within = [point.auc_within for point in record.curve]
    axes.plot(tasks, within, "s--", color=_OURS, label="within a task")
    axes.axhline(0.5, color=_OTHER, linestyle="--")
    axes.set(xlabel="labelled tasks", ylabel="AUC")
    axes.legend(frameon=False)

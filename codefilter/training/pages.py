"""A training run as one HTML page: ROC, precision and recall, calibration, kept tokens against gain.

In: a `TrainingRecord` or a `TuningRecord`, and judgements. Out: HTML text, nothing from the network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from codefilter.html_page import page
from codefilter.plots import new_figure, to_svg
from codefilter.training.classifier import Judged, TrainingRecord
from codefilter.training.examples import TrainingTask, Values
from codefilter.training.judging import FilterFigures, Labels, calibration, set_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from codefilter.training.generative import TuningRecord

_OURS, _OTHER = "#2166ac", "#999999"
_STYLES: dict[str, dict[str, Any]] = {
    "classifier": {"color": _OURS},
    "cross": {"color": "#b2182b"},
    "generative": {"color": _OURS},
}


def training_page(record: TrainingRecord, judged: Judged) -> str:
    """One self-contained page of a classifier's training."""
    column = record.options.levels.index(record.manifest.positive_level)
    forms = {"classifier": [one[:, column] for one in judged.probabilities]}
    if judged.cross:
        forms["cross"] = [one[:, column] for one in judged.cross]
    charts = _filter_charts(judged.tasks, forms, record.manifest.positive_level, record.out_of_fold)
    charts["Learning curve"] = _draw(lambda axes: _curve(axes, record))
    said = (
        f"{record.out_of_fold.tasks} tasks and {record.out_of_fold.chunks} chunks, each judged by networks "
        "that saw nothing of its repository."
    )
    return _page("Training of the filter", said, charts, asdict(record))


def tuning_page(record: TuningRecord, judged: Judged) -> str:
    """One self-contained page of a tuned model's training."""
    level, figures = record.manifest.positive_level, record.reading_all
    forms = {"generative": [one[:, 1] for one in judged.probabilities]}
    charts = _filter_charts(judged.tasks, forms, level, figures)
    charts["Loss"] = _draw(lambda axes: _losses(axes, record))
    said = (
        f"{figures.tasks} tasks and {figures.chunks} chunks of the validation repositories, all read. They "
        "said when to stop, too."
    )
    return _page("Tuning of the model", said, charts, asdict(record))


def _page(title: str, said: str, charts: Mapping[str, str], values: dict[str, Any]) -> str:
    pictures = "".join(f"<h2>{escape(name)}</h2>{svg}" for name, svg in charts.items())
    shown = escape(json.dumps(values, indent=1))
    return page(title, f"<p>{said}</p>{pictures}<h2>The record</h2><pre>{shown}</pre>")


def _filter_charts(
    tasks: Sequence[TrainingTask], forms: Mapping[str, Sequence[Values]], level: float, figures: FilterFigures
) -> dict[str, str]:
    """Pictures of how well the chunks above a level are told.

    Args:
        tasks: with impacts.
        forms: by name, for each task (candidates,): probabilities. The first form is the one of `figures`.
        level: nats per target token.
        figures: of the filter.
    """
    positive = np.concatenate([task.impacts > level for task in tasks])
    pooled = {name: np.concatenate(scores) for name, scores in forms.items()}
    main, scores = next(iter(pooled.values())), next(iter(forms.values()))
    return {
        "ROC: positive chunks against the rest": _draw(lambda axes: _roc(axes, pooled, positive)),
        "Precision and recall": _draw(lambda axes: _precision_recall(axes, pooled, positive)),
        "Calibration": _draw(lambda axes: _calibration(axes, main, positive)),
        "Kept tokens against gain": _draw(lambda axes: _gains(axes, figures, tasks, scores)),
    }


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


def _gains(
    axes: Axes, figures: FilterFigures, tasks: Sequence[TrainingTask], scores: Sequence[Values]
) -> None:
    """What the kept sets are worth at every threshold, against the retriever's best k."""
    whole = sum(float(task.cross_file_tokens.sum()) for task in tasks)

    def point(keeps: Sequence[Labels]) -> tuple[float, float]:
        pairs = list(zip(tasks, keeps, strict=True))
        tokens = sum(float(task.cross_file_tokens[keep].sum()) for task, keep in pairs)
        return 100 * tokens / whole, float(np.mean([set_value(task, keep) for task, keep in pairs]))

    thresholds = np.quantile(np.concatenate(scores), np.linspace(0, 1, 60))
    ours = [point([one >= threshold for one in scores]) for threshold in thresholds]
    ranks = [np.arange(len(task.impacts)) for task in tasks]
    fixed = [point([rank < k for rank in ranks]) for k in range(figures.chunks and 11)]
    axes.plot(*zip(*ours, strict=True), color=_OURS, label="this filter")
    axes.plot(*zip(*fixed, strict=True), "o-", color=_OTHER, label="the retriever's first k")
    axes.axhline(figures.gain_oracle, color="black", linestyle=":", label="the positive ones")
    axes.set(xlabel="% of all candidates' tokens", ylabel="nats per token (best chunk of the set)")
    axes.legend(frameon=False)


def _losses(axes: Axes, record: TuningRecord) -> None:
    steps = [point.step for point in record.curve]
    for part, line in (("control", "o-"), ("target", "s--")):
        for on, color in (("validation", _OURS), ("train", _OTHER)):
            values = [getattr(point, f"{on}_{part}") for point in record.curve]
            name = "control tokens" if part == "control" else "completion"
            axes.plot(steps, values, line, color=color, label=f"{name}, {on}")
    axes.set(xlabel="steps", ylabel="nats per token", ylim=(0, None))
    axes.legend(frameon=False)


def _curve(axes: Axes, record: TrainingRecord) -> None:
    tasks = [point.label_tasks for point in record.curve]
    axes.plot(tasks, [point.auc for point in record.curve], "o-", color=_OURS, label="over all chunks")
    within = [point.auc_within for point in record.curve]
    axes.plot(tasks, within, "s--", color=_OURS, label="within a task")
    axes.axhline(0.5, color=_OTHER, linestyle="--")
    axes.set(xlabel="tasks whose labels a fold's networks saw", ylabel="AUC")
    axes.legend(frameon=False)

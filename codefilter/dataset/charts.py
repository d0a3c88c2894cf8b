"""Pictures of labels, as SVG that stands in an HTML page.

In: `ExampleRecord`s. Out: SVG text. Drawn by matplotlib: a few kilobytes each, no script, no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from codefilter.dataset.figures import LabelFigures, array, control_noise
from codefilter.dataset.records import ExampleRecord
from codefilter.labeling import LabelOptions
from codefilter.plots import new_figure, to_svg

_RETRIEVED, _CONTROL, _NEGATIVE = "#2166ac", "#999999", "#b2182b"
_SHOWN_NATS = 2.0  # impacts beyond are drawn at the edge


def draw_all(
    records: Sequence[ExampleRecord], groups: Mapping[str, Sequence[LabelFigures]], options: LabelOptions
) -> dict[str, str]:
    """Title → SVG: impacts, shares against the threshold, impact against rank, and a chart per grouping."""
    charts = {
        "Impact above the controls, nats per target token": _impacts(records, options),
        "Share of positive chunks against the threshold": _thresholds(records),
        "Impact against the retriever's rank": _ranks(records, options),
    }
    for name, figures in groups.items():
        charts[f"Polarity by {name}"] = _polarity_by(figures)
    return charts


def _corrected(records: Sequence[ExampleRecord]) -> tuple[np.ndarray, np.ndarray]:
    """Corrected impacts of all retrieved chunks, and of all controls against the others of their task."""
    retrieved = array(chunk.impact_corrected for r in records for chunk in r.chunks)
    return retrieved, control_noise(records)


def _impacts(records: Sequence[ExampleRecord], options: LabelOptions) -> str:
    figure, axes = new_figure()
    edges = np.linspace(-_SHOWN_NATS, _SHOWN_NATS, 81).tolist()
    retrieved, noise = _corrected(records)
    for values, color, label in ((retrieved, _RETRIEVED, "retrieved"), (noise, _CONTROL, "unrelated")):
        weights = np.full(len(values), 100 / max(1, len(values)))
        shown = np.clip(values, -_SHOWN_NATS, _SHOWN_NATS)
        axes.hist(shown, edges, weights=weights, color=color, alpha=0.6, label=label)
    for threshold in (options.negative_threshold, options.positive_threshold):
        axes.axvline(threshold, color="black", linewidth=0.8, linestyle="--")
    scale = "log" if records else "linear"
    axes.set(xlabel="nats per target token", ylabel="% of chunks", yscale=scale)
    axes.legend(frameon=False)
    return to_svg(figure)


def _thresholds(records: Sequence[ExampleRecord]) -> str:
    figure, axes = new_figure()
    thresholds = np.linspace(0, 1, 101)
    retrieved, noise = _corrected(records)
    raw = array(chunk.impact for r in records for chunk in r.chunks)
    raw_noise = array(chunk.impact for r in records for chunk in r.controls)
    lines = (
        (retrieved, _RETRIEVED, "-", "retrieved"),
        (noise, _CONTROL, "-", "unrelated"),
        (raw, _RETRIEVED, ":", "retrieved, raw"),
        (raw_noise, _CONTROL, ":", "unrelated, raw"),
        (-retrieved, _NEGATIVE, "-", "retrieved, negative"),
    )
    for values, color, style, label in lines:
        shares = [100 * float((values > t).mean()) if len(values) else 0.0 for t in thresholds]
        axes.plot(thresholds, shares, color=color, linestyle=style, label=label)
    axes.set(xlabel="threshold, nats per target token", ylabel="% of chunks beyond it", ylim=(0, None))
    axes.legend(frameon=False)
    return to_svg(figure)


def _ranks(records: Sequence[ExampleRecord], options: LabelOptions) -> str:
    figure, axes = new_figure()
    ranks = sorted({chunk.rank + 1 for r in records for chunk in r.chunks})
    by_rank = [
        array(c.impact_corrected for r in records for c in r.chunks if c.rank + 1 == rank) for rank in ranks
    ]
    if by_rank:
        axes.boxplot(by_rank, positions=ranks, widths=0.6, showfliers=False, manage_ticks=False)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(xlabel="rank (1 is the retriever's best)", ylabel="nats per target token", xticks=ranks)
    shares = axes.twinx()
    positive = [100 * float((values > options.positive_threshold).mean()) for values in by_rank]
    shares.plot(ranks, positive, color=_RETRIEVED, marker="o")
    shares.set(ylabel="% positive", ylim=(0, None))
    shares.yaxis.label.set_color(_RETRIEVED)
    return to_svg(figure)


def _polarity_by(figures: Sequence[LabelFigures]) -> str:
    figure, axes = new_figure(0.6 + 0.24 * len(figures))
    places = np.arange(len(figures))[::-1]
    axes.barh(places, [100 * row.positive for row in figures], color=_RETRIEVED)
    axes.barh(places, [-100 * row.negative for row in figures], color=_NEGATIVE)
    axes.axvline(0, color="black", linewidth=0.5)
    axes.set_yticks(places, [f"{row.name} ({row.examples})" for row in figures], fontsize=8)
    axes.set(xlabel="% negative (left) and positive (right) of the retrieved chunks")
    return to_svg(figure)

"""The pictures of a report.

In: comparisons and results. Out: SVG text. Quality against cost: every arm a point with its own interval;
and how the tasks' differences from the baseline are spread, which a mean hides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codefilter.comparison import METRICS, Comparison
from codefilter.evaluation.results import TaskResult
from codefilter.plots import new_figure, to_svg

_MARKERS = "osD^vP*X<>"
_SHOWN_NATS = 2.0  # differences beyond are drawn at the edge


def draw_quality_against(comparisons: Sequence[Comparison], quality: str, cost: str) -> str:
    """Arms by two metrics of the same level; empty where one of the two was not measured.

    Those that have fewer tasks than others say how many: their place is of other tasks too.
    """
    by_arm: dict[str, dict[str, Comparison]] = defaultdict(dict)
    for comparison in comparisons:
        by_arm[comparison.arm][comparison.metric] = comparison
    measured = {arm: own for arm, own in by_arm.items() if cost in own and quality in own}
    if not measured:
        return ""
    tasks = max(own[quality].tasks for own in measured.values())
    points = [
        (_label(own[quality], tasks), own[cost].arm_value, own[quality].arm_value)
        for own in measured.values()
    ]
    figure, axes = new_figure(height=3.6)
    for number, (label, x, y) in enumerate(points):
        spread = None
        if y.low is not None and y.high is not None:  # rounding may put a bound beyond the value
            spread = [[max(0.0, y.value - y.low)], [max(0.0, y.high - y.value)]]
        marker = _MARKERS[number % len(_MARKERS)]  # hollow, so that arms at the same place are all seen
        bars = axes.errorbar(
            [x.value], [y.value], spread, fmt=marker, capsize=3, color=f"C{number % 10}", label=label
        )
        bars[0].set(markersize=8, markerfacecolor="none")
    axes.set(xlabel=METRICS[cost].unit, ylabel=METRICS[quality].unit)
    axes.margins(x=0.15)
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return to_svg(figure)


def _label(comparison: Comparison, tasks: int) -> str:
    few = comparison.tasks < tasks
    return f"{comparison.arm} ({comparison.tasks} tasks)" if few else comparison.arm


def draw_differences(results: Sequence[TaskResult], baseline: str) -> str:
    """Per arm, the tasks' differences from the baseline in nats per token; empty where there is one arm."""
    nats: dict[str, dict[str, tuple[float, int]]] = defaultdict(dict)  # with the tokens they are of
    for result in results:
        nats[result.arm][result.task_id] = (result.target_nats, max(1, result.target_tokens))
    first = nats[baseline]
    arms = [arm for arm in nats if arm != baseline and nats[arm].keys() & first.keys()]
    if not arms:
        return ""
    figure, axes = new_figure(height=1.0 + 0.45 * len(arms))
    for row, arm in enumerate(reversed(arms)):
        shared = [task for task in nats[arm] if task in first]
        own, other = (np.array([rows[task] for task in shared]) for rows in (nats[arm], first))
        shown = np.clip(_per_token(own) - _per_token(other), -_SHOWN_NATS, _SHOWN_NATS)
        offsets = row + 0.6 * (np.random.default_rng(0).random(len(shown)) - 0.5)
        axes.scatter(shown, offsets, s=6, alpha=0.5, color=f"C{(len(arms) - row) % 10}", linewidths=0)
        difference = _per_token(own.sum(axis=0)) - _per_token(other.sum(axis=0))  # as in the table
        axes.plot([difference] * 2, [row - 0.35, row + 0.35], color="black", linewidth=1.5)
    axes.axvline(0, color="black", linewidth=0.6, linestyle="--")
    axes.set(
        xlabel=f"nats per token above {baseline}, a point per task, bar: over all tokens",
        xlim=(-1.05 * _SHOWN_NATS, 1.05 * _SHOWN_NATS),
    )
    axes.set_yticks(range(len(arms)), list(reversed(arms)))
    return to_svg(figure)


def _per_token(nats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nats and tokens, (..., 2), to their ratio."""
    return nats[..., 0] / nats[..., 1]

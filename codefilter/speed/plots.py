"""The pictures of timings.

In: what was measured. Out: SVG text: time against the tokens that had to be read, and against the size of the
repository.
"""

from __future__ import annotations

from collections.abc import Sequence

from codefilter.plots import new_figure, to_svg
from codefilter.speed.indexing import IndexingTiming
from codefilter.speed.requests import RequestTiming


def draw_requests(timings: Sequence[RequestTiming]) -> str:
    """Every request a point: seconds against tokens to read; llama-server's hollow, where it was asked."""
    figure, axes = new_figure(height=3.6)
    baseline: list[tuple[int, float]] = []
    for number, timing in enumerate(timings):
        tokens = [point[0] for point in timing.points]
        label = f"{timing.kind}, {timing.filter}" if timing.filter != "-" else timing.kind
        axes.scatter(
            tokens, [point[1] for point in timing.points], s=12, color=f"C{number % 10}", label=label
        )
        baseline += [(point[0], point[2]) for point in timing.points if point[2] is not None]
    if baseline:
        x, y = zip(*baseline, strict=True)
        axes.scatter(x, y, s=12, facecolors="none", edgecolors="gray", label="llama-server, the same")
    axes.set(xlabel="tokens to read", ylabel="seconds from request to text", xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return to_svg(figure)


def draw_indexing(timings: Sequence[IndexingTiming]) -> str:
    """Median and 95th percentile of queries, and of a save until it is found, against lines."""
    figure, axes = new_figure(height=3.6)
    ordered = sorted(timings, key=lambda timing: timing.num_lines)
    lines = [timing.num_lines for timing in ordered]
    series = {
        f"query, {name}": [timing.queries[name] for timing in ordered]
        for name in (ordered[0].queries if ordered else ())
    }
    series["saved until found"] = [timing.save_to_searchable for timing in ordered]
    for number, (label, spreads) in enumerate(series.items()):
        color = f"C{number % 10}"
        axes.plot(lines, [1000 * s.median_seconds for s in spreads], "o-", color=color, label=label)
        axes.plot(lines, [1000 * s.p95_seconds for s in spreads], ":", color=color)
    axes.set(xlabel="lines in the repository", ylabel="milliseconds (dotted: 95th percentile)")
    axes.set(xscale="log", yscale="log")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return to_svg(figure)

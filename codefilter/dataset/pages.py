"""HTML pages about labels: one file each, nothing from the network.

In: figures, charts as SVG, a labelled task with its text. Out: HTML text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from codefilter.coloring import html_tokens
from codefilter.dataset.figures import LabelFigures
from codefilter.dataset.show import ShownChunk, ShownExample
from codefilter.dataset.stats import DatasetStats, percent, sentences
from codefilter.html_page import page

COLUMNS: tuple[tuple[str, Callable[[LabelFigures], str]], ...] = (
    ("tasks", lambda row: str(row.examples)),
    ("positive", lambda row: percent(row.positive)),
    ("negative", lambda row: percent(row.negative)),
    ("unrelated positive", lambda row: percent(row.control_positive)),
    ("signal/noise", lambda row: f"{row.signal_to_noise:.2f}"),
    ("none", lambda row: f"{row.nats_none:.1f}"),
    ("all that fit", lambda row: f"{row.nats_all:.1f}"),
    ("best or none", lambda row: f"{row.nats_best_or_none:.1f}"),
    ("worse than none", lambda row: percent(row.all_worse_than_none)),
    ("s/task", lambda row: f"{row.seconds_per_task:.1f}"),
)


def stats_page(title: str, stats: DatasetStats, charts: dict[str, str]) -> str:
    """One self-contained page."""
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in COLUMNS)
    tables = []
    for name, rows in (
        ("level", stats.by_level),
        ("part", stats.by_part),
        ("repository", stats.by_repository),
    ):
        lines = "".join(
            f"<tr><th>{escape(row.name)}</th>{''.join(f'<td>{show(row)}</td>' for _, show in COLUMNS)}</tr>"
            for row in rows
        )
        if rows:
            tables.append(f"<h2>By {name}</h2><table><tr><th></th>{head}</tr>{lines}</table>")
    pictures = "".join(f"<h2>{escape(name)}</h2>{svg}" for name, svg in charts.items())
    words = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(stats))
    return page(title, f"<ul>{words}</ul>{pictures}{''.join(tables)}")


def example_page(shown: ShownExample) -> str:
    """One task: its target under every prompt, tokens coloured by what the chunk changed."""
    record = shown.record
    place = f"{record.repository} {record.version}, {record.path}, line {record.start_line + 1}"
    parts = [
        f"<p>{escape(place)}; level {escape(record.level)}. Green tokens are likelier with the chunk than "
        "without it, red ones less likely; the strongest colour is 2 nats.</p>",
        f"<h2>Before the hole</h2><pre>{escape(shown.before)}</pre>",
        f"<h2>The truth, without chunks: {record.baseline_nats:.2f} nats</h2>",
        f"<pre>{html_tokens(shown.tokens, record.baseline.target_nats, scale=8.0)}</pre>",
        f"<h2>The model's own draft</h2><pre>{escape(shown.draft)}</pre>",
        f"<h2>All chunks together: {record.everything_impact:+.3f} nats per token</h2>",
        f"<pre>{html_tokens(shown.tokens, shown.everything_gains)}</pre>",
        "<h2>Retrieved chunks, best first</h2>",
        *(_chunk(chunk, shown.tokens, is_open=number == 0) for number, chunk in enumerate(shown.chunks)),
        f"<h2>Unrelated chunks (mean {record.control_mean:+.3f}, spread {record.control_spread:.3f})</h2>",
        *(_chunk(chunk, shown.tokens, is_open=False) for chunk in shown.controls),
    ]
    return page(record.example_id, "".join(parts))


def _chunk(shown: ShownChunk, tokens: Sequence[str], *, is_open: bool) -> str:
    chunk = shown.record
    title = (
        f"{chunk.impact_corrected:+.3f} {chunk.polarity} · {chunk.repository}/{chunk.path}:"
        f"{chunk.start_line + 1}-{chunk.end_line} · rank {chunk.rank + 1} · raw {chunk.impact:+.3f}"
    )
    return (
        f"<details{' open' if is_open else ''}><summary>{escape(title)}</summary>"
        f"<pre>{html_tokens(tokens, shown.gains)}</pre><pre>{escape(shown.text)}</pre></details>"
    )

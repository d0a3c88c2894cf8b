"""Empty figures and their SVG, for every picture that this project draws.

In: a height. Out: axes to draw on, and the text of an ``<svg>`` element: a few kilobytes, no script, no
network. matplotlib is an extra, imported only where something is drawn.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from codefilter.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 7.0  # inches


def new_figure(height: float = 3.2) -> tuple[Figure, Axes]:
    """A figure of that height in inches; `UsageError` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UsageError(
            "drawing needs matplotlib", hint="Install it: pip install 'codefilter[plots]'"
        ) from None
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def to_svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element, without a date."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]

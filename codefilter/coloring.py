"""Tokens coloured by what changed their likelihood, for terminals and for HTML pages of one file.

In: tokens and a value for each, in nats. Out: rich text, HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rich.text import Text

from codefilter.terminal import printable_text

STRONG_NATS = 0.5  # a gain from which on a token is said to be helped, and coloured in a terminal


def html_tokens(tokens: Sequence[str], values: Sequence[float], scale: float = 2.0) -> str:
    """Tokens on a ground whose colour says the value: green up to `scale` nats, red below zero."""
    spans = []
    for token, value in zip(tokens, values, strict=True):
        strength = max(-1.0, min(1.0, value / scale))
        color = "0,140,60" if strength > 0 else "200,40,40"
        spans.append(
            f'<span style="background:rgba({color},{abs(strength) * 0.6:.2f})" title="{value:+.3f} nats">'
            f"{escape(token)}</span>"
        )
    return "".join(spans)


def terminal_tokens(tokens: Sequence[str], gains: Sequence[float]) -> Text:
    """Tokens in green where they gained much, in red where they lost much."""
    text = Text()
    for token, gain in zip(tokens, gains, strict=True):
        style = "green" if gain > STRONG_NATS else "red" if gain < -STRONG_NATS else ""
        text.append(printable_text(token), style)
    return text

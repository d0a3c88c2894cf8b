"""Tokens coloured by what changed their likelihood, for terminals and for HTML pages of one file.

In: tokens and a value for each, in nats. Out: rich text, HTML. A page loads nothing from the network, and no
text of others commands the terminal (`printable`, `printable_text`).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rich.text import Text

STRONG_NATS = 0.5  # a gain from which on a token is said to be helped, and coloured in a terminal

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
td, th { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #eee; }
th:first-child { text-align: left; font-weight: normal; }
svg { max-width: 100%; height: auto; }
pre { background: #f7f7f7; padding: .6rem; overflow-x: auto; line-height: 1.6; }
details { border-bottom: 1px solid #eee; padding: .3rem 0; }
summary { cursor: pointer; }
"""


def page(title: str, body: str) -> str:
    """An HTML document around a body."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def html_tokens(tokens: Sequence[str], values: Sequence[float], scale: float = 2.0) -> str:
    """Tokens on a ground whose colour says the value: green up to `scale`, red below zero."""
    spans = []
    for token, value in zip(tokens, values, strict=True):
        strength = max(-1.0, min(1.0, value / abs(scale)))
        color = "0,140,60" if strength > 0 else "200,40,40"
        spans.append(
            f'<span style="background:rgba({color},{abs(strength) * 0.6:.2f})" title="{value:+.3f} nats">'
            f"{escape(token)}</span>"
        )
    return "".join(spans)


def printable(text: str) -> str:
    """A text in which control characters, as a file's name may have them, are spaces: for a line."""
    return "".join(character if character.isprintable() else " " for character in text)


def printable_text(text: str) -> str:
    """The same for several lines, as source text has them: line feeds and tabs stay."""
    return "".join(one if one.isprintable() or one in "\n\t" else " " for one in text)


def terminal_tokens(tokens: Sequence[str], gains: Sequence[float]) -> Text:
    """Tokens in green where they gained much, in red where they lost much."""
    text = Text()
    for token, gain in zip(tokens, gains, strict=True):
        style = "green" if gain > STRONG_NATS else "red" if gain < -STRONG_NATS else ""
        text.append(printable_text(token), style)
    return text

"""The frame of an HTML page of one file, which loads nothing from the network.

In: a title and a body. Out: HTML.
"""

from __future__ import annotations

from html import escape

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

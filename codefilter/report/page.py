"""A report's values → its HTML.

In: `ReportContent`. Out: one HTML text. Jinja2 escapes everything that is put in, since the page shows other
people's code; the plots are the only markup that is not escaped.
"""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from codefilter.report.content import ReportContent


def render(content: ReportContent) -> str:
    """The whole page; it refers to nothing outside itself."""
    environment = Environment(
        loader=PackageLoader("codefilter.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup  # drawn by us
    return environment.get_template("report.html.jinja").render(content=content)

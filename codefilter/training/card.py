"""The card beside a filter's weights: what it was made of, how good it is, and how to make it again.

In: a `TrainingRecord`. Out: Markdown, of ``templates/card.md.jinja``.
"""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from codefilter.training.classifier import TrainingRecord


def card(record: TrainingRecord) -> str:
    """The card of the weights that a record is of."""
    environment = Environment(
        loader=PackageLoader("codefilter.training"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["share"] = "{:.0%}".format
    environment.filters["figure"] = "{:.3f}".format
    template = environment.get_template("card.md.jinja")
    return template.render(record=record, manifest=record.manifest, figures=record.out_of_fold)

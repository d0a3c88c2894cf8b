"""The card beside a filter's weights: what it was made of, how good it is, and how to make it again.

In: a `TrainingRecord`. Out: Markdown, of ``templates/card.md.jinja``. It is a folder's ``README.md``; one
that somebody else wrote is left alone.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from codefilter.errors import UsageError
from codefilter.training.classifier import TrainingRecord

CARD_FILE = "README.md"
_BEGINNING = b"# A filter of CodeFilter"


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


def refuse_other_readme(folder: Path) -> None:
    """`UsageError` where a card would take the place of something else."""
    path = folder / CARD_FILE
    if path.exists() and not _is_card(path):
        raise UsageError(
            f"{path} is no filter's card, and a card would take its place",
            hint="Name another folder after --out, or move the file away.",
        )


def remove_card(folder: Path) -> None:
    """Delete the card of weights that were there before, if there is one."""
    if _is_card(folder / CARD_FILE):
        (folder / CARD_FILE).unlink()


def _is_card(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(_BEGINNING)

"""What other labels of the same chunks say: ``agreements.json`` beside a dataset.

In: two datasets, of another model, layout, chunk order, dtype. Out: how far they agree, kept under what
is different, so that a dataset's figures tell how much of a label is noise.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

from codefilter.dataset.description import Description, Recipe, require_description
from codefilter.dataset.figures import Agreement, agreement
from codefilter.dataset.storage import read_examples
from codefilter.errors import DatasetError, UsageError
from codefilter.paths import write_atomically

AGREEMENTS_FILE = "agreements.json"


def compare(first: Path, second: Path) -> Agreement:
    """How far two datasets agree; the second is named by what was different.

    Raises:
        DatasetError: one of them is no dataset.
        UsageError: they share no example.
    """
    different = difference(require_description(first), require_description(second))
    found = agreement(str(first), read_examples(first), str(second), read_examples(second))
    if not found.examples:
        raise UsageError("the two datasets share no example", hint="Label the same tasks in both.")
    return replace(found, second=different or str(second))


def difference(first: Description, second: Description) -> str:
    """What the second was made with where that is not what the first was made with; "" where all is equal."""
    changed = [
        f"model {second.recipe.model.name}" if f.name == "model" else f"{f.name} {other}"
        for f in fields(Recipe)
        if (other := getattr(second.recipe, f.name)) != getattr(first.recipe, f.name)
    ]
    engines, others = first.engines, second.engines
    if engines and others and set(engines).isdisjoint(others):
        changed += others
    return ", ".join(changed)


def keep_agreement(folder: Path, found: Agreement) -> None:
    """Write down how far other labels agree with a dataset's; one of the same difference is replaced."""
    others = [one for one in read_agreements(folder) if one.second != found.second]
    content = [asdict(replace(one, first="")) for one in (*others, found)]
    write_atomically(folder / AGREEMENTS_FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_agreements(folder: Path) -> tuple[Agreement, ...]:
    """What was written down; empty where nothing was compared."""
    path = folder / AGREEMENTS_FILE
    if not path.exists():
        return ()
    try:
        return tuple(Agreement(**one) for one in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{path} cannot be read: {error}", hint="Make it again: dataset compare --keep"
        ) from error

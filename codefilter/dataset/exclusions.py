"""Examples that are in the shards but left out of the dataset: ``excluded.json``.

In: example ids with reasons. Out: the same, read again. Shards are never rewritten for it, so what is left
out can come back, and everybody sees what it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from codefilter.errors import DatasetError
from codefilter.paths import write_atomically

EXCLUSIONS_FILE = "excluded.json"


@dataclass(frozen=True)
class Exclusion:
    """An example that is left out, and why."""

    example_id: str
    reference: str  # benchmark, repository, path and lines
    similarity: float


@dataclass(frozen=True)
class Compared:
    """Which examples were held against which benchmarks."""

    examples: int  # the first so many: a dataset grows at its end
    compared_with: tuple[str, ...]


def write_exclusions(folder: Path, exclusions: Sequence[Exclusion], comparison: Compared) -> None:
    """Write down what is left out, and what was compared."""
    content = asdict(comparison) | {"excluded": [asdict(one) for one in exclusions]}
    write_atomically(folder / EXCLUSIONS_FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_exclusions(folder: Path) -> list[Exclusion]:
    """What is left out of a dataset; empty where nothing was compared yet."""
    return _read(folder)[0]


def read_comparison(folder: Path) -> Compared:
    """What was compared; no example where nothing was."""
    return _read(folder)[1]


def _read(folder: Path) -> tuple[list[Exclusion], Compared]:
    path = folder / EXCLUSIONS_FILE
    if not path.exists():
        return [], Compared(0, ())
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        excluded = [Exclusion(**one) for one in content.pop("excluded")]
        return excluded, Compared(content.get("examples", 0), tuple(content["compared_with"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} cannot be read: {error}", hint="Make it again: dataset duplicates"
        ) from error

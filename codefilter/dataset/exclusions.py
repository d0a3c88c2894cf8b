"""Examples that are in the shards but left out of the dataset: ``excluded.json``.

In: example ids with reasons. Out: the same, read again. Shards are never rewritten for it, so what is left
out can come back, and everybody sees what it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codefilter.errors import DatasetError
from codefilter.paths import write_atomically

EXCLUSIONS_FILE = "excluded.json"


@dataclass(frozen=True)
class Exclusion:
    """An example that is left out, and why."""

    example_id: str
    reference: str  # benchmark, repository, path and lines
    similarity: float


def write_exclusions(folder: Path, exclusions: Sequence[Exclusion], compared_with: Sequence[str]) -> None:
    """Write down what is left out, and against what it was compared."""
    content = {"compared_with": list(compared_with), "excluded": [asdict(one) for one in exclusions]}
    write_atomically(folder / EXCLUSIONS_FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_exclusions(folder: Path) -> list[Exclusion]:
    """What is left out of a dataset; empty where nothing was compared yet."""
    return [Exclusion(**one) for one in _read(folder, "excluded")]


def read_comparisons(folder: Path) -> list[str]:
    """What the examples were compared with."""
    return [str(name) for name in _read(folder, "compared_with")]


def _read(folder: Path, key: str) -> list[Any]:
    path = folder / EXCLUSIONS_FILE
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))[key])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} cannot be read: {error}", hint="Make it again: dataset duplicates"
        ) from error

"""The records in data/results/, which the README's figures are made from."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "data" / "results"


def read(name: str) -> Any:
    """The values of a record."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))

"""The labels in ``data/labels``: whole, and what the card, the record and the shipped filter say they are.

These hold for what is committed: while a command adds to the labels, the card and the record lag behind.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from codefilter.cli import main
from codefilter.dataset.card import CARD_FILE, card_text
from codefilter.dataset.description import require_description
from codefilter.dataset.split import read_splits
from codefilter.dataset.stats import dataset_stats
from codefilter.dataset.storage import read_examples
from codefilter.filters.trained import load_trained
from codefilter.training.classifier import labels_sha256
from tests.recorded_results import read

ROOT = Path(__file__).parents[1]
FOLDERS = [card.parent for card in sorted((ROOT / "data" / "labels").glob(f"*/{CARD_FILE}"))]
FILTER = load_trained(ROOT / "data" / "filters" / "classifier").manifest


def significant(value: Any) -> Any:
    """As it is read from JSON, numbers to the digits that every machine agrees on."""
    if isinstance(value, dict):
        return {key: significant(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [significant(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_the_labels_are_whole_and_the_card_is_theirs(folder: Path) -> None:
    assert main(["dataset", "validate", str(folder), "--numbers-only"]) == 0
    assert card_text(folder, dataset_stats(folder)[0]) == (folder / CARD_FILE).read_text(encoding="utf-8")


def test_the_record_and_the_shipped_filter_are_of_these_labels() -> None:
    folder = ROOT / "data" / "labels" / FILTER.labelled_by
    assert folder in FOLDERS
    assert significant(asdict(dataset_stats(folder)[0])) == significant(read("labels.json"))
    assert FILTER.labelled_by_sha256 == require_description(folder).recipe.model.sha256
    parts = read_splits(folder)
    learned = Counter(parts[record.repository] for record in read_examples(folder))["train"]
    assert FILTER.label_tasks <= learned  # labels may grow; the filter is trained anew when it is worth it
    assert (FILTER.label_tasks == learned) == (FILTER.labels_sha256 == labels_sha256(folder))

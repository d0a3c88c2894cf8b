"""Train, validation, test: by repository, never by example.

In: repositories with their numbers of examples. Out: ``splits.json`` beside the labels. Two tasks of one
repository share names, habits and often chunks; a filter that saw one has seen half of the other.
Notable: repositories are dealt in an order that hash and seed give, so that a dataset that grows keeps its
parts: one that is written down already keeps its part, only new repositories are dealt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from codefilter.errors import DatasetError
from codefilter.paths import write_atomically
from codefilter.types import content_hash

SPLITS_FILE = "splits.json"
PARTS = ("train", "validation", "test")


def split_repositories(
    examples: Mapping[str, int], shares: Mapping[str, float], seed: int, kept: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Repository → part, such that the parts have about their shares of the examples.

    A part with a share has at least one repository, as long as one is left to train on.

    Args:
        examples: number of examples by repository.
        shares: of "validation" and "test", 0 to 1; the rest is "train".
        seed: of the order in which repositories are dealt.
        kept: parts that are decided already.
    """
    parts = {name: part for name, part in (kept or {}).items() if name in examples}
    total = sum(examples.values())
    filled = {part: sum(examples[name] for name, chosen in parts.items() if chosen == part) for part in PARTS}
    for name in sorted(examples.keys() - parts.keys(), key=lambda name: content_hash(f"{seed}:{name}")):
        missing = {part: shares.get(part, 0.0) * total - filled[part] for part in PARTS[1:]}
        part = max(missing, key=missing.__getitem__)
        if missing[part] < examples[name] / 2:  # nearer to its share without than with
            part = "train"
        parts[name] = part
        filled[part] += examples[name]
    for part in PARTS[1:]:  # a share of few repositories may be less than half of any
        train = [name for name, chosen in parts.items() if chosen == "train"]
        free = [name for name in train if name not in (kept or {})]
        if shares.get(part, 0.0) > 0 and part not in parts.values() and free and len(train) > 1:
            parts[min(free, key=lambda name: (examples[name], name))] = part
    return dict(sorted(parts.items()))


def write_splits(folder: Path, parts: Mapping[str, str]) -> None:
    """Write the parts down beside the labels."""
    by_part = {part: sorted(name for name, chosen in parts.items() if chosen == part) for part in PARTS}
    write_atomically(folder / SPLITS_FILE, json.dumps(by_part, indent=1) + "\n")


def read_splits(folder: Path) -> dict[str, str]:
    """Repository → part; empty where nothing is written down.

    Raises:
        DatasetError: the file cannot be read, or names a repository twice.
    """
    path = folder / SPLITS_FILE
    if not path.exists():
        return {}
    try:
        by_part: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(name, part) for part, names in by_part.items() for name in names]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", hint="Make it again: dataset split") from error
    parts = dict(pairs)
    if len(parts) < len(pairs):
        raise DatasetError(f"{path} names a repository in two parts", hint="Make it again: dataset split")
    return parts

"""Why the trained filter keeps a chunk: one short sentence that is true of the texts.

In: what the networks read, the evidence of the features. Out: a sentence per candidate. The group of features
whose removal (as if average) lowers the judgement most is the reason; what it says is looked up in the texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codefilter.filters.features import (
    FEATURE_NAMES,
    ChunkFeatures,
    CopyEvidence,
    Matrix,
    NameEvidence,
    group_columns,
)
from codefilter.filters.trained import TrainedFilter
from codefilter.types import RetrievedChunk

_GROUPS = ("names", "copy", "relation")
_SHOWN_CHARACTERS = 40
_ALIKE = 0.5  # similarity from which a line is called alike


def reasons(
    trained: TrainedFilter,
    inputs: Matrix,
    features: ChunkFeatures,
    candidates: Sequence[RetrievedChunk],
    chosen: Sequence[int],
) -> list[str]:
    """What speaks most for each of the chosen candidates, which are given by their positions."""
    column = trained.level_column(trained.manifest.positive_level)
    rows = inputs[list(chosen)]
    whole = trained.ensemble.logits(rows)[:, column]
    falls = np.array(
        [whole - trained.ensemble.logits(rows, group_columns(group))[:, column] for group in _GROUPS]
    )  # (groups, chosen)
    found = []
    for row, position in enumerate(chosen):
        values = dict(zip(FEATURE_NAMES, features.values[position].tolist(), strict=True))
        said = {
            "names": _of_names(features.names[position]),
            "copy": _of_copying(features.copies[position], values["copy.aligned"]),
            "relation": _of_relation(values),
        }
        ordered = sorted(zip(falls[:, row].tolist(), _GROUPS, strict=True), reverse=True)
        sentences = [said[group] for _, group in ordered if said[group]]
        found.append(sentences[0] if sentences else f"{candidates[position].retriever} found it")
    return found


def _of_names(evidence: NameEvidence) -> str:
    if evidence.finished:
        return f"it has {_listed(evidence.finished)}, which finishes the word being typed"
    if evidence.imported:
        return f"it defines {_listed(evidence.imported)}, imported here"
    if evidence.defined:
        return f"it defines {_listed(evidence.defined)}, used near the cursor"
    if evidence.called:
        return f"it uses {_listed(evidence.called)}, imported here and not used yet"
    if evidence.missing:
        return f"it has {_listed(evidence.missing)}, which the next lines need"
    if evidence.shared:
        return f"it shares {_listed(evidence.shared)} with the lines around"
    return ""


def _of_copying(evidence: CopyEvidence, similarity: float) -> str:
    if similarity < _ALIKE or not evidence.following:
        return ""
    line = evidence.line
    shown = line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"
    return f"it goes on after a line like “{shown}”"


def _of_relation(values: dict[str, float]) -> str:
    if values["relation.same_file"]:
        return "it stands in the same file, out of the prompt's sight"
    if values["relation.imported"] == 1:
        return "its module is imported here"
    if values["relation.test_pair"]:
        return "it is the test of this file, or tested by it"
    if values["relation.same_scope"]:
        return "it stands in a class of the same name"
    return "it stands in the same folder" if values["relation.same_folder"] else ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)

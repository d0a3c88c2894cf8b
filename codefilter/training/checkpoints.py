"""Checkpoints: what a training needs to go on after it was killed, in one file that is whole or not there.

In: tensors and plain values. Out: safetensors, the values as JSON in its header, written to a temporary name
and renamed. Nothing is pickled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from codefilter.errors import ModelError, UsageError
from codefilter.paths import remove_leftovers, write_atomically

Tensors = dict[str, torch.Tensor]


def write_checkpoint(path: Path, tensors: Tensors, values: dict[str, Any], recipe: str) -> None:
    """Replace a training's checkpoint; `values` are for JSON, `recipe` says which training it is."""
    write_atomically(path, save(tensors, {"values": json.dumps(values), "recipe": recipe}))


def read_checkpoint(path: Path, recipe: str) -> tuple[Tensors, dict[str, Any]] | None:
    """Tensors and values of a training's checkpoint; None where there is none.

    Raises:
        UsageError: it is of another training.
        ModelError: it cannot be read.
    """
    remove_leftovers(path)
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        values, written_by = json.loads(header["values"]), header["recipe"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read: {error}", hint="Delete it to train from the start."
        ) from error
    if written_by != recipe:
        raise UsageError(
            f"{path} is of a training with other labels, parts or options",
            hint="Use those to go on with it, or choose another --out, or delete the file.",
        )
    return tensors, values

"""Hidden states beside the labels, 16 bit: ``states/``, a safetensors file per example.

In: labelled examples whose model's states were kept. Out: files for a training of your own (`train` reads
texts); they are large (about 55 kB for ten chunks and the default model) and can be made again, so they are
not published.
Notable: for every prompt of an example two states are kept, in this order: that of the prompt's last token,
from which the first token of the text is predicted, and the mean over the tokens of the model's draft.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codefilter.errors import DatasetError
from codefilter.labeling import LabeledExample, Reading
from codefilter.paths import remove_leftovers, write_atomically
from codefilter.types import content_hash

STATES_FOLDER = "states"
_FILES = "*.safetensors"
_NAME_DIGITS = 32

States = NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class ExampleStates:
    """The states of one example."""

    baseline: States  # (2, hidden)
    everything: States  # (2, hidden)
    chunks: States  # (chunks, 2, hidden), by rank
    controls: States  # (controls, 2, hidden)

    @property
    def tensors(self) -> dict[str, States]:
        """By name, as they are kept."""
        return {
            "baseline": self.baseline,
            "everything": self.everything,
            "chunks": self.chunks,
            "controls": self.controls,
        }


def states_of(example: LabeledExample) -> ExampleStates | None:
    """The states of an example; None where they were not kept."""
    if example.baseline.states is None:
        return None
    return ExampleStates(
        _stacked([example.baseline])[0],
        _stacked([example.everything])[0],
        _stacked([chunk.reading for chunk in example.chunks]),
        _stacked([control.reading for control in example.controls]),
    )


def _stacked(readings: Sequence[Reading]) -> States:
    """(readings, 2, hidden)."""
    kept = [(r.states.prompt, r.states.draft) for r in readings if r.states is not None]
    return np.array(kept, dtype=np.float16)


def states_path(folder: Path, example_id: str) -> Path:
    """The file of an example's states."""
    return folder / STATES_FOLDER / f"{content_hash(example_id)[:_NAME_DIGITS]}.safetensors"


def write_states(folder: Path, example_id: str, states: ExampleStates) -> None:
    """Keep an example's states; when this returns they are on the disk."""
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(tensor) for name, tensor in states.tensors.items()}
    write_atomically(states_path(folder, example_id), save(whole, {"example_id": example_id}))


def read_states(folder: Path, example_id: str) -> ExampleStates:
    """An example's states.

    Raises:
        DatasetError: they were not kept, or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = states_path(folder, example_id)
    try:
        return ExampleStates(**load(path.read_bytes()))
    except FileNotFoundError:
        raise DatasetError(
            f"{folder} has no hidden states of {example_id}",
            hint="Run the command that built it again, with --states.",
        ) from None
    except (OSError, SafetensorError, TypeError) as error:
        raise DatasetError(
            f"{path} cannot be read: {error}", hint="Delete it, and build again with --states."
        ) from error


def remove_torn_states(folder: Path) -> None:
    """Delete what a killed build left half-written."""
    remove_leftovers(folder / STATES_FOLDER / _FILES)

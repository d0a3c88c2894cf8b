"""Small networks that judge candidates, computed with numpy: a request never waits for torch.

In: the inputs of one request's candidates. Out: probabilities that a chunk's impact is above each of a few
levels. Several networks that differ only in their seed are averaged; one line per level then turns the mean
into a probability that means what it says (Platt scaling).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from codefilter.filters.features import Matrix

_MAX_LOGIT = 12.0  # nothing is certain
_CLIP = 4.0  # standard deviations: nothing that was never seen pulls without limit


@dataclass(frozen=True)
class Network:
    """Layers with SiLU between them, behind standardised inputs."""

    mean: Matrix  # (inputs,)
    scale: Matrix  # (inputs,)
    weights: tuple[Matrix, ...]  # each (outputs of the layer, inputs of the layer)
    biases: tuple[Matrix, ...]

    def standardise(self, inputs: Matrix) -> Matrix:
        """(rows, inputs) → the same, in standard deviations, clipped."""
        scaled: Matrix = np.clip((inputs - self.mean) / self.scale, -_CLIP, _CLIP)
        return scaled

    def logits(self, standardised: Matrix) -> Matrix:
        """(rows, inputs) → (rows, levels)."""
        values = standardised
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = values @ weight.T + bias
            if number < len(self.weights) - 1:
                values = values * sigmoid(values)
        return values

    def tensors(self) -> dict[str, Matrix]:
        """By name, for a file."""
        layers = zip(self.weights, self.biases, strict=True)
        found = {"mean": self.mean, "scale": self.scale}
        for number, (weight, bias) in enumerate(layers):
            found |= {f"weight{number}": weight, f"bias{number}": bias}
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Matrix]) -> Network:
        """The inverse of `tensors`; `KeyError` where something is missing."""
        layers = range(sum(name.startswith("weight") for name in tensors))
        return cls(
            tensors["mean"],
            tensors["scale"],
            tuple(tensors[f"weight{number}"] for number in layers),
            tuple(tensors[f"bias{number}"] for number in layers),
        )


@dataclass(frozen=True)
class Ensemble:
    """Networks of the same kind, and the calibration of their mean."""

    networks: tuple[Network, ...]
    slopes: Matrix  # (levels,)
    offsets: Matrix  # (levels,)

    def logits(self, inputs: Matrix, without: Sequence[int] = ()) -> Matrix:
        """Calibrated logits, (rows, levels); the columns in `without` are as if they were average."""
        total: Matrix = np.zeros((len(inputs), len(self.slopes)), np.float32)
        for network in self.networks:
            standardised = network.standardise(inputs)
            if without:
                standardised[:, list(without)] = 0.0
            total += network.logits(standardised)
        calibrated = total / np.float32(len(self.networks)) * self.slopes + self.offsets
        bounded: Matrix = np.clip(calibrated, -_MAX_LOGIT, _MAX_LOGIT)
        return bounded

    def probabilities(self, inputs: Matrix) -> Matrix:
        """(rows, levels): that the impact is above each level."""
        return sigmoid(self.logits(inputs))

    def tensors(self) -> dict[str, Matrix]:
        """By name, for a file."""
        found = {"slopes": self.slopes, "offsets": self.offsets}
        for number, network in enumerate(self.networks):
            found |= {f"{number}.{name}": tensor for name, tensor in network.tensors().items()}
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Matrix]) -> Ensemble:
        """The inverse of `tensors`; `KeyError` where something is missing."""
        numbers = sorted({int(name.partition(".")[0]) for name in tensors if "." in name})
        networks = []
        for number in numbers:
            own = {name.partition(".")[2]: t for name, t in tensors.items() if name.startswith(f"{number}.")}
            networks.append(Network.from_tensors(own))
        return cls(tuple(networks), tensors["slopes"], tensors["offsets"])


def sigmoid(values: npt.NDArray[np.floating[Any]]) -> Matrix:
    """1 / (1 + exp(-x)), without overflow."""
    positive = np.exp(-np.abs(values))
    result: Matrix = np.where(values >= 0, 1 / (1 + positive), positive / (1 + positive)).astype(np.float32)
    return result

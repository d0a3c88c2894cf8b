"""Training the small networks that judge text features.

In: `TrainingTask`s with copy gains, and with impacts. Out: an `Ensemble`. Each network learns, for each of a
few levels, whether a chunk's impact is above it (the classes of CODEFILTER, arXiv 2508.05970, section 3, are
two of these levels), and to order the chunks of a task by impact. First on copy gains, of which there are
thousands, then on impacts.
Notable: copy gains and impacts are not on one scale; the levels of copy gains are those that have the same
shares of chunks above them as the impacts' levels have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from codefilter.filters.features import Matrix, network_inputs
from codefilter.filters.networks import Ensemble, Network, sigmoid
from codefilter.training.examples import TrainingTask, Values

Doubles = npt.NDArray[np.float64]

_MARGIN_NATS = 0.1  # differences below it do not order a pair


@dataclass(frozen=True)
class FitOptions:
    """What is chosen before training."""

    levels: tuple[float, ...] = (-0.2, 0.05, 0.2, 0.5)  # nats per target token; T_n and T_p among them
    hidden: int = 32
    num_networks: int = 8
    dropout: float = 0.3
    weight_decay: float = 0.02
    ranking_weight: float = 0.5
    copy_epochs: int = 12
    epochs: int = 60  # at most; the best one on validation repositories counts
    patience: int = 12
    learning_rate: float = 2e-3
    tuning_rate: float = 5e-4  # after copy gains
    batch_tasks: int = 32
    seed: int = 0


@dataclass(frozen=True)
class _Batch:
    """Tasks padded to the same number of candidates."""

    inputs: torch.Tensor  # (tasks, candidates, inputs), standardised
    impacts: torch.Tensor  # (tasks, candidates)
    present: torch.Tensor  # (tasks, candidates) bool


def fit(
    copied: Sequence[TrainingTask],
    labelled: Sequence[TrainingTask],
    validation: Sequence[TrainingTask],
    options: FitOptions,
) -> Ensemble:
    """Train an ensemble.

    Args:
        copied: tasks with copy gains; may be empty.
        labelled: tasks with impacts; may be empty, then copy gains are all that is learned.
        validation: tasks with impacts, of other repositories: when to stop. All impacts calibrate.
        options: see `FitOptions`.
    """
    rows = np.concatenate([network_inputs(task.features) for task in (*copied, *labelled)])
    mean = rows.mean(axis=0)
    scale = np.maximum(rows.std(axis=0), 1e-3)
    frame = Network(mean, scale, (), ())
    held = _batch(validation, frame) if validation else None
    networks = []
    for number in range(options.num_networks):
        torch.manual_seed(options.seed * 1000 + number)
        module = _module(rows.shape[1], options)
        if copied:
            levels = copy_levels(copied, labelled or validation, options.levels)
            _train(module, copied, None, frame, levels, options.copy_epochs, options.learning_rate, options)
        if labelled:
            rate = options.tuning_rate if copied else options.learning_rate
            _train(module, labelled, held, frame, options.levels, options.epochs, rate, options)
        networks.append(_to_network(module, mean, scale))
    ones = np.ones(len(options.levels), np.float32)
    return _calibrate(Ensemble(tuple(networks), ones, 0 * ones), [*labelled, *validation], options.levels)


def adapt(
    ensemble: Ensemble,
    labelled: Sequence[TrainingTask],
    validation: Sequence[TrainingTask],
    options: FitOptions,
) -> Ensemble:
    """Go on training an ensemble on a few more tasks; its inputs' scale and its calibration stay.

    A network that no epoch makes better on the validation tasks stays as it was.
    """
    networks = []
    held = _batch(validation, ensemble.networks[0])
    for number, network in enumerate(ensemble.networks):
        torch.manual_seed(options.seed * 1000 + number)
        frame = Network(network.mean, network.scale, (), ())
        module = _to_module(network, options)
        _train(
            module,
            labelled,
            held,
            frame,
            options.levels,
            options.epochs,
            options.tuning_rate,
            options,
            may_stay=True,
        )
        networks.append(_to_network(module, network.mean, network.scale))
    return Ensemble(tuple(networks), ensemble.slopes, ensemble.offsets)


def copy_levels(
    copied: Sequence[TrainingTask], labelled: Sequence[TrainingTask], levels: Sequence[float]
) -> tuple[float, ...]:
    """Copy gains that have the same shares of chunks above them as the impacts' levels."""
    impacts = np.concatenate([task.impacts for task in labelled])
    gains = np.concatenate([task.impacts for task in copied])
    return tuple(float(np.quantile(gains, float((impacts <= level).mean()))) for level in levels)


def _module(num_inputs: int, options: FitOptions) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(num_inputs, options.hidden),
        nn.SiLU(),
        nn.Dropout(options.dropout),
        nn.Linear(options.hidden, len(options.levels)),
    )


def _batch(tasks: Sequence[TrainingTask], frame: Network) -> _Batch:
    most = max(len(task.impacts) for task in tasks)
    width = len(frame.mean)
    inputs = np.zeros((len(tasks), most, width), np.float32)
    impacts = np.zeros((len(tasks), most), np.float32)
    present = np.zeros((len(tasks), most), bool)
    for row, task in enumerate(tasks):
        count = len(task.impacts)
        inputs[row, :count] = frame.standardise(network_inputs(task.features))
        impacts[row, :count] = task.impacts
        present[row, :count] = True
    return _Batch(torch.from_numpy(inputs), torch.from_numpy(impacts), torch.from_numpy(present))


def _train(
    module: nn.Sequential,
    tasks: Sequence[TrainingTask],
    held: _Batch | None,
    frame: Network,
    levels: Sequence[float],
    epochs: int,
    learning_rate: float,
    options: FitOptions,
    *,
    may_stay: bool = False,
) -> None:
    """Train a network; the best epoch on the held tasks counts, or the beginning where it `may_stay`."""
    whole = _batch(tasks, frame)
    optimizer = torch.optim.AdamW(module.parameters(), learning_rate, weight_decay=options.weight_decay)
    best, best_state, since = float("inf"), None, 0
    if held is not None and may_stay:
        best, best_state = _held_loss(module, held, levels, options), _state(module)
    for _ in range(epochs):
        module.train()
        for chosen in torch.split(torch.randperm(len(tasks)), options.batch_tasks):
            batch = _Batch(whole.inputs[chosen], whole.impacts[chosen], whole.present[chosen])
            loss = _loss(module(batch.inputs), batch, levels, options.ranking_weight)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if held is not None:
            now = _held_loss(module, held, levels, options)
            if now < best:
                best, best_state, since = now, _state(module), 0
            elif (since := since + 1) >= options.patience:
                break
    if best_state is not None:
        module.load_state_dict(best_state)
    module.eval()


@torch.no_grad()
def _held_loss(module: nn.Module, held: _Batch, levels: Sequence[float], options: FitOptions) -> float:
    module.eval()
    return float(_loss(module(held.inputs), held, levels, options.ranking_weight))


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _loss(
    logits: torch.Tensor, batch: _Batch, levels: Sequence[float], ranking_weight: float
) -> torch.Tensor:
    """Cross-entropy of every level, and of the order of every pair that differs enough."""
    above = batch.impacts[..., None] > torch.tensor(levels)  # (tasks, candidates, levels)
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, above.float(), reduction="none")
    classes = entropy[batch.present].mean()
    score = logits.mean(dim=-1)  # (tasks, candidates)
    lead = batch.impacts[:, :, None] - batch.impacts[:, None, :]
    ordered = (lead > _MARGIN_NATS) & batch.present[:, :, None] & batch.present[:, None, :]
    if not ordered.any():
        return classes
    margins = score[:, :, None] - score[:, None, :]
    weights = lead.clamp(max=1.0)[ordered]  # who is far ahead counts more
    ranking = (nn.functional.softplus(-margins[ordered]) * weights).sum() / weights.sum()
    return classes + ranking_weight * ranking


def _to_module(network: Network, options: FitOptions) -> nn.Sequential:
    """The inverse of `_to_network`."""
    layers: list[nn.Module] = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data = torch.from_numpy(weight.copy())
        linear.bias.data = torch.from_numpy(bias.copy())
        layers += [linear, nn.SiLU(), nn.Dropout(options.dropout)]
    return nn.Sequential(*layers[:-2])


def _to_network(module: nn.Sequential, mean: Matrix, scale: Matrix) -> Network:
    layers = [layer for layer in module if isinstance(layer, nn.Linear)]
    return Network(
        mean.astype(np.float32),
        scale.astype(np.float32),
        tuple(layer.weight.detach().numpy().copy() for layer in layers),
        tuple(layer.bias.detach().numpy().copy() for layer in layers),
    )


def _calibrate(ensemble: Ensemble, tasks: Sequence[TrainingTask], levels: Sequence[float]) -> Ensemble:
    """Platt scaling of every level (Platt, 1999), with his smoothed targets, by Newton's method."""
    if not tasks:
        return ensemble
    logits = np.concatenate([ensemble.logits(network_inputs(task.features)) for task in tasks])
    impacts = np.concatenate([task.impacts for task in tasks])
    fitted = [_platt(logits[:, i], impacts > level) for i, level in enumerate(levels)]
    slopes, offsets = (np.array(values, np.float32) for values in zip(*fitted, strict=True))
    return Ensemble(ensemble.networks, slopes, offsets)


def _platt(logits: Values, above: np.ndarray) -> tuple[float, float]:
    """Slope and offset; the slope is never below 0.1, so that no order is turned round."""
    hits, misses = int(above.sum()), int((~above).sum())
    targets = np.where(above, (hits + 1) / (hits + 2), 1 / (misses + 2))
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    slope, offset = logistic(design, targets, np.zeros(2))
    return max(0.1, float(slope)), float(offset)


def logistic(design: Matrix, targets: Doubles, penalty: Doubles) -> Doubles:
    """Weights of a logistic regression, by Newton's method.

    Args:
        design: (rows, inputs).
        targets: (rows,) from 0 to 1.
        penalty: (inputs,), of the squares of the weights.
    """
    rows = design.astype(np.float64)
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        predicted = sigmoid(rows @ weights).astype(np.float64)
        gradient = rows.T @ (predicted - targets) + penalty * weights
        curvature = (rows * (predicted * (1 - predicted))[:, None]).T @ rows
        step = np.linalg.solve(curvature + np.diag(penalty + 1e-6), gradient)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights

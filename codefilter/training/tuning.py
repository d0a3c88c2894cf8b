"""Tuning a language model on sequences: LoRA and a few rows of its vocabulary, nothing else.

In: a model with an adapter, `TrainingSequence`s to learn and others to stop by. Out: `Tuned`, the adapter's
tensors that were best on the latter, and the loss curve. The loss is the cross-entropy of control tokens and
completions, over the whole vocabulary (CODEFILTER, arXiv 2508.05970, section 4).
Notable: one sequence at a time, without padding; the gradients of a few make a step. Everything random
follows from the seed and the step's number, so a run that was killed ends with the same weights as one that
was not (on a CPU, to the bit). Where to stop, the control tokens decide alone: they are what the filter says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from codefilter.errors import ModelError, UsageError
from codefilter.lm.adapter import adapter_tensors, set_adapter, trained_parameters
from codefilter.lm.torch_loading import choose_device
from codefilter.training.checkpoints import Tensors, read_checkpoint, write_checkpoint
from codefilter.training.sequences import Part, TrainingSequence

_ADAPTER, _MOMENT, _VARIANCE, _BEST = "adapter/", "moment/", "variance/", "best/"


@dataclass(frozen=True)
class TuneOptions:
    """What is chosen before training."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    learning_rate: float = 3e-4  # at its height: it rises, then falls to 0
    warmup_share: float = 0.05  # of all steps
    weight_decay: float = 0.0
    max_gradient_norm: float = 1.0
    epochs: int = 3  # at most; the best one on validation repositories counts
    patience: int = 1  # epochs that are no better, before it stops
    accumulate: int = 8  # sequences per step
    target_weight: float = 1.0  # of a token of the completion; of a control token it is 1
    gradient_checkpointing: bool = False  # less memory, a third more time
    seed: int = 0


@dataclass(frozen=True)
class LossPoint:
    """Mean nats per token after an epoch, or where the time was over."""

    step: int
    train_control: float  # while it was learned
    train_target: float
    validation_control: float
    validation_target: float


@dataclass(frozen=True)
class Tuned:
    """What came out."""

    tensors: Tensors
    curve: tuple[LossPoint, ...]
    steps: int
    stopped: str  # "epochs", "patience" or "time"
    tokens_per_second: float  # of this run; 0 where nothing was left to do


@dataclass
class _State:
    """Where a training is, besides its tensors."""

    step: int = 0
    best: float = math.inf
    since: int = 0  # epochs without a better one
    nats: list[float] = field(default_factory=lambda: [0.0, 0.0])  # control, target: of the epoch so far
    counts: list[int] = field(default_factory=lambda: [0, 0])  # of tokens
    curve: list[LossPoint] = field(default_factory=list)


class Tuner:
    """One training."""

    def __init__(
        self,
        model: Any,
        train: Sequence[TrainingSequence],
        validation: Sequence[TrainingSequence],
        options: TuneOptions,
        *,
        device: str = "auto",
    ) -> None:
        """Make a tuner; `model` has an adapter (`lm.adapter.add_adapter`), which is changed.

        Raises:
            UsageError: the device is not there, or not the one that accelerate would use.
        """
        from accelerate import Accelerator  # takes a second

        wanted, self._accelerator = choose_device(device), Accelerator(cpu=device == "cpu")
        if wanted.type != self._accelerator.device.type or wanted.index:
            raise UsageError(
                f"{self._accelerator.device} would be used, not {device}",
                hint="One of several GPUs is chosen with CUDA_VISIBLE_DEVICES.",
            )
        if options.gradient_checkpointing:
            model.activation_checkpointing_enable()
        self._model = self._accelerator.prepare(model)
        self._train, self._validation, self._options = train, validation, options
        self._parameters = trained_parameters(self._model)
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), options.learning_rate, weight_decay=options.weight_decay
        )
        self._best: Tensors = {}
        self._state = _State()
        self.epoch_steps = math.ceil(len(train) / options.accumulate)
        self.total_steps = self.epoch_steps * options.epochs

    def run(
        self,
        checkpoint: Path,
        recipe: str,
        *,
        deadline: float | None = None,
        progress: Callable[[int, float], object] = lambda step, loss: None,
        checkpoint_seconds: float = 60.0,
    ) -> Tuned:
        """Train until the epochs, the patience or the time is over; go on where the checkpoint is.

        Args:
            checkpoint: file of it.
            recipe: what makes this training what it is; a checkpoint of another one is refused.
            deadline: `time.monotonic` after which no further step is begun.
            progress: told how many steps are done, and the last one's loss.
            checkpoint_seconds: how often it is written.

        Raises:
            ModelError: the loss is no number any more.
            UsageError: the checkpoint is of another training.
        """
        self._resume(checkpoint, recipe)
        state, tokens, seconds, saved = self._state, 0, 0.0, time.monotonic()
        while not (stopped := self._stopped(deadline)):
            batch, started = self._batch(state.step), time.monotonic()
            loss = self._step(batch)
            tokens += sum(len(sequence.token_ids) for sequence in batch)
            seconds += time.monotonic() - started
            state.step += 1
            progress(state.step, loss)
            ended = state.step % self.epoch_steps == 0
            if ended:
                self._end_epoch()
            if ended or time.monotonic() - saved > checkpoint_seconds:
                self._save(checkpoint, recipe)
                saved = time.monotonic()
        if stopped == "time" and state.step % self.epoch_steps:
            self._save(checkpoint, recipe)  # before a look at the weights that a longer run does not take
            self._end_epoch()
        return Tuned(self._best, tuple(state.curve), state.step, stopped, tokens / max(1e-9, seconds))

    def _stopped(self, deadline: float | None) -> str:
        if self._state.step >= self.total_steps:
            return "epochs"
        if self._state.since >= self._options.patience:
            return "patience"
        over = deadline is not None and time.monotonic() > deadline
        return "time" if over and self._state.step else ""

    def _batch(self, step: int) -> list[TrainingSequence]:
        """The sequences of a step; every epoch has its own order."""
        epoch, place = divmod(step, self.epoch_steps)
        order = list(range(len(self._train)))
        Random(f"{self._options.seed}:{epoch}").shuffle(order)
        size = self._options.accumulate
        return [self._train[i] for i in order[place * size : (place + 1) * size]]

    def _step(self, batch: Sequence[TrainingSequence]) -> float:
        """One step of the optimizer; its loss."""
        options, state = self._options, self._state
        torch.manual_seed(options.seed * 1_000_003 + state.step)  # of the dropout
        for group in self._optimizer.param_groups:
            group["lr"] = options.learning_rate * self._rate_share(state.step)
        weights = torch.tensor([1.0, options.target_weight], device=self._accelerator.device)
        targets = sum(one.parts.count(Part.TARGET) for one in batch)
        whole = sum(one.parts.count(Part.CONTROL) for one in batch) + options.target_weight * targets
        self._model.train()
        self._optimizer.zero_grad()
        total = 0.0
        for sequence in batch:
            nats = self._nats(sequence)
            loss = (weights * nats).sum() / whole
            self._accelerator.backward(loss)
            _add(state.nats, nats.detach().tolist())
            _add(state.counts, [sequence.parts.count(Part.CONTROL), sequence.parts.count(Part.TARGET)])
            total += loss.item()
        if not math.isfinite(total):
            raise ModelError(
                "the loss is no number any more", hint="Lower --learning-rate, or --dtype float32."
            )
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), options.max_gradient_norm)
        self._optimizer.step()
        return total

    def _rate_share(self, step: int) -> float:
        """Linear: up while it warms up, then down to 0 after the last step."""
        warmup = max(1, round(self._options.warmup_share * self.total_steps))
        return min((step + 1) / warmup, (self.total_steps - step) / max(1, self.total_steps - warmup))

    def _nats(self, sequence: TrainingSequence) -> torch.Tensor:
        """Summed cross-entropy of control tokens and of the completion, (2,)."""
        device = self._accelerator.device
        ids = torch.tensor(sequence.token_ids, device=device)
        parts = torch.tensor(sequence.parts, device=device)
        learned = (parts != Part.CONTEXT).nonzero().squeeze(1)
        logits = self._model(input_ids=ids[None], use_cache=False, logits_to_keep=learned - 1).logits[0]
        answers = torch.tensor(sequence.answers, device=device)[learned]
        entropies = cross_entropy(logits.float(), answers, reduction="none")  # (learned,)
        return torch.zeros(2, device=device).index_add(0, parts[learned], entropies)

    @torch.no_grad()
    def _end_epoch(self) -> None:
        """Hold the model against the validation sequences."""
        self._model.eval()
        state, nats, counts = self._state, [0.0, 0.0], [0, 0]
        for sequence in self._validation:
            _add(nats, self._nats(sequence).tolist())
            _add(counts, [sequence.parts.count(Part.CONTROL), sequence.parts.count(Part.TARGET)])
        losses = [total / max(1, count) for total, count in zip(nats, counts, strict=True)]
        learned = [total / max(1, count) for total, count in zip(state.nats, state.counts, strict=True)]
        state.curve.append(LossPoint(state.step, *learned, *losses))
        state.nats, state.counts = [0.0, 0.0], [0, 0]
        if losses[0] < state.best:
            state.best, state.since, self._best = losses[0], 0, adapter_tensors(self._model)
        else:
            state.since += 1

    def _save(self, path: Path, recipe: str) -> None:
        tensors = {_BEST + name: value for name, value in self._best.items()}
        for name, parameter in self._parameters.items():
            moments = self._optimizer.state[parameter]
            tensors[_ADAPTER + name] = parameter.detach().cpu()
            tensors[_MOMENT + name] = moments["exp_avg"].cpu()
            tensors[_VARIANCE + name] = moments["exp_avg_sq"].cpu()
        write_checkpoint(path, tensors, asdict(self._state), recipe)

    def _resume(self, path: Path, recipe: str) -> None:
        checkpoint = read_checkpoint(path, recipe)
        if checkpoint is None:
            return
        tensors, values = checkpoint

        def marked(mark: str) -> Tensors:
            return {k.removeprefix(mark): v for k, v in tensors.items() if k.startswith(mark)}

        self._state = _State(**values | {"curve": [LossPoint(**point) for point in values["curve"]]})
        self._best = marked(_BEST)
        set_adapter(self._model, marked(_ADAPTER))
        moments, variances = marked(_MOMENT), marked(_VARIANCE)
        for name, parameter in self._parameters.items():
            self._optimizer.state[parameter] = {
                "step": torch.tensor(float(self._state.step)),
                "exp_avg": moments[name].to(parameter.device),
                "exp_avg_sq": variances[name].to(parameter.device),
            }


def _add(totals: list[Any], new: Sequence[float]) -> None:
    """Element by element, in place."""
    totals[:] = [total + one for total, one in zip(totals, new, strict=True)]

"""An adapter: low-rank matrices beside a model's linear layers, and a few rows of its vocabulary.

In: a causal model of transformers, an `AdapterShape`. Out: the model with the adapter in it, to be trained
(LoRA, arXiv 2106.09685, by peft), or merged into its weights, to be used. Everything else stays as it is.
Notable: peft is an extra, imported only where an adapter is put in; safetensors in, safetensors out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codefilter.errors import ModelError, UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class AdapterShape:
    """What is trained of a model."""

    rank: int
    alpha: int  # the product of two matrices counts alpha / rank
    row_ids: tuple[int, ...]  # token ids whose rows of the embedding and of the output matrix are trained


@dataclass(frozen=True)
class Adapter:
    """A trained adapter on the disk."""

    shape: AdapterShape
    weights: Path  # safetensors, as `adapter_tensors` names them


def require_peft() -> None:
    """`UsageError` where peft is not installed."""
    if find_spec("peft") is None:
        raise UsageError(
            "the filter generative needs peft", hint="Install it: pip install 'codefilter[train]'"
        )


def add_adapter(model: Any, shape: AdapterShape, dropout: float = 0.0) -> Any:
    """Put a new adapter in; only it requires gradients. It changes nothing yet.

    Raises:
        UsageError: peft is not installed.
    """
    require_peft()
    from peft import LoraConfig, get_peft_model

    rows = (model.get_input_embeddings(), model.get_output_embeddings())
    names = [name for name, module in model.named_modules() if any(module is one for one in rows)]
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=dropout,
        target_modules="all-linear",  # peft leaves out the output matrix
        trainable_token_indices={name: list(shape.row_ids) for name in names},
    )
    with warnings.catch_warnings():  # peft asks transformers by a name that will be another one
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(model, config)


def trained_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters, by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def adapter_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Copies of the adapter's parameters on the CPU, by name."""
    return {name: value.detach().cpu().clone() for name, value in trained_parameters(model).items()}


def set_adapter(model: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give an adapter these parameters; `ModelError` where they are of another model or shape."""
    parameters = trained_parameters(model)
    shapes = {name: value.shape for name, value in parameters.items()}
    if shapes != {name: value.shape for name, value in tensors.items()}:
        raise ModelError(
            "the adapter's weights do not belong to this model", hint="Use the model that it was trained on."
        )
    for name, value in parameters.items():
        value.data.copy_(tensors[name])


def merge_adapter(model: Any, adapter: Adapter) -> Any:
    """The model with an adapter's weights in its own; errors as in `add_adapter` and `set_adapter`."""
    from safetensors.torch import load_file

    adapted = add_adapter(model, adapter.shape)
    set_adapter(adapted, load_file(adapter.weights))
    return adapted.merge_and_unload()

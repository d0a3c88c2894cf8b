"""A tiny model with every matrix rounded as `codefilter.quantization` rounds it: what the engines must equal.

Written in another way: whole rotations instead of blocks, and rotated back after rounding.
"""

from pathlib import Path

import torch
from scipy.linalg import block_diag, hadamard
from torch import Tensor
from transformers import AutoModelForCausalLM


def rounded(folder: Path, target: Path) -> Path:
    """Save the model of a folder once more, with rounded matrices."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = model.config
    hidden, inner = _rotation(config.hidden_size), _rotation(config.intermediate_size)
    heads = _rotation(model.model.layers[0].self_attn.head_dim)
    queries, values = (
        torch.kron(torch.eye(number), heads)
        for number in (config.num_attention_heads, config.num_key_value_heads)
    )
    with torch.no_grad():
        for embedded in {model.model.embed_tokens.weight, model.lm_head.weight}:
            embedded.copy_(_round(embedded @ hidden) @ hidden)
        for layer in model.model.layers:
            attention, feed = layer.self_attn, layer.mlp
            norm = torch.diag(layer.input_layernorm.weight)
            for matrix in (attention.q_proj.weight, attention.k_proj.weight):
                matrix.copy_(_round(matrix @ norm @ hidden) @ hidden @ norm.inverse())
            matrix = attention.v_proj.weight
            matrix.copy_(values @ _round(values @ matrix @ norm @ hidden) @ hidden @ norm.inverse())
            matrix = attention.o_proj.weight
            matrix.copy_(hidden @ _round(hidden @ matrix @ queries) @ queries)
            norm = torch.diag(layer.post_attention_layernorm.weight)
            for matrix in (feed.gate_proj.weight, feed.up_proj.weight):
                matrix.copy_(_round(matrix @ norm @ hidden) @ hidden @ norm.inverse())
            matrix = feed.down_proj.weight
            matrix.copy_(hidden @ _round(hidden @ matrix @ inner) @ inner)
    model.save_pretrained(target)
    return target


def _rotation(size: int) -> Tensor:
    """A block-diagonal orthogonal matrix, which is symmetric: its own inverse."""
    block = min(128, size & -size)  # the largest power of two that divides the size
    return torch.tensor(block_diag(*[hadamard(block)] * (size // block)) / block**0.5, dtype=torch.float32)


def _round(matrix: Tensor) -> Tensor:
    steps = matrix.abs().amax(1, keepdim=True) / 127
    return (matrix / steps).round() * steps

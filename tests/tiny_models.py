"""Small random transformers for tests: real architectures, real code paths, no download."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, Qwen2Config

from codefilter.lm import fake


def save_tiny_model(
    folder: Path, architecture: str = "qwen2", *, spare_rows: int = 0, tied: bool = False, **more: Any
) -> Path:
    """Two layers, the fake model's byte tokenizer, grouped-query attention as in the real model.

    `more` are other numbers of its configuration.
    """
    torch.manual_seed(0)
    shape = {
        "vocab_size": 262 + spare_rows,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": tied,
        **more,
    }
    return save_random_model(
        folder, Qwen2Config(**shape) if architecture == "qwen2" else LlamaConfig(**shape)
    )


def save_random_model(folder: Path, config: PretrainedConfig) -> Path:
    """A model of any family, with the fake model's byte tokenizer."""
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # random weights of the default size give almost flat distributions
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms are made as 1 and biases as 0, which no rotation would change
                parameter.add_(torch.rand_like(parameter) - 0.5)
            parameter.mul_(3)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(fake.byte_tokenizer_spec()))
    return folder

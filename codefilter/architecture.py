"""What shapes a decoder-only transformer: the numbers of a model folder's ``config.json``.

In: a model folder. Out: its `Architecture`, if it is one that the CPU engines build: Llama's or Qwen2's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codefilter.errors import ModelError

_SUPPORTED = ("llama", "qwen2")


@dataclass(frozen=True)
class Architecture:
    """The numbers of ``config.json`` that shape the graph."""

    num_layers: int
    hidden: int
    intermediate: int  # numbers between the two matrices of a feed-forward layer
    heads: int
    kv_heads: int
    head_dim: int
    epsilon: float
    rope_theta: float
    context_length: int
    vocabulary: int
    tied: bool  # without an output matrix of its own, the embeddings are that
    biased: tuple[str, ...]  # matrices of a layer that add something to their product

    @classmethod
    def from_folder(cls, folder: Path) -> Architecture:
        """Read a model folder; `ModelError` for one that is broken, or that the CPU engines do not know."""
        path = folder / "config.json"
        try:
            return cls._from_config(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise ModelError(
                f"{path} cannot be read: {type(error).__name__}: {error}",
                hint="Copy the model's folder again, whole.",
            ) from error

    @classmethod
    def _from_config(cls, config: dict[str, Any]) -> Architecture:
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        unknown = [
            f"{key}={value}"
            for key, value, expected in (
                ("model_type", config.get("model_type"), _SUPPORTED),
                ("hidden_act", config.get("hidden_act", "silu"), ("silu",)),
                ("rope_type", rope.get("rope_type") or rope.get("type") or "default", ("default",)),
                ("use_sliding_window", bool(config.get("use_sliding_window")), (False,)),
                ("quantization_config", bool(config.get("quantization_config")), (False,)),
            )
            if value not in expected
        ]
        if unknown:
            raise ModelError(
                f"the CPU engines do not know this architecture ({', '.join(unknown)})",
                hint="Use --engine torch, which runs every causal model of transformers.",
            )
        heads = int(config["num_attention_heads"])
        kv_heads = int(config.get("num_key_value_heads") or heads)
        hidden, head_dim = int(config["hidden_size"]), config.get("head_dim")
        if min(heads, kv_heads, hidden) < 1 or heads % kv_heads:
            raise ValueError(f"{heads} heads share {kv_heads} of keys and values, of {hidden} numbers")
        return cls(
            num_layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            intermediate=int(config["intermediate_size"]),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=int(head_dim or hidden // heads),
            epsilon=float(config["rms_norm_eps"]),
            rope_theta=float(rope.get("rope_theta") or config.get("rope_theta", 10000.0)),
            context_length=int(config["max_position_embeddings"]),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            biased=_biased(config),
        )

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What its weights must hold: shapes by name, as transformers writes them."""
        read, kept = self.heads * self.head_dim, self.kv_heads * self.head_dim
        matrices = {
            "self_attn.q_proj": (read, self.hidden),
            "self_attn.k_proj": (kept, self.hidden),
            "self_attn.v_proj": (kept, self.hidden),
            "self_attn.o_proj": (self.hidden, read),
            "mlp.gate_proj": (self.intermediate, self.hidden),
            "mlp.up_proj": (self.intermediate, self.hidden),
            "mlp.down_proj": (self.hidden, self.intermediate),
        }
        layer: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in matrices.items()}
        layer |= {f"{name}.bias": matrices[name][:1] for name in self.biased}
        layer |= dict.fromkeys(("input_layernorm.weight", "post_attention_layernorm.weight"), (self.hidden,))
        outer = {
            "model.embed_tokens.weight": (self.vocabulary, self.hidden),
            "model.norm.weight": (self.hidden,),
            **({} if self.tied else {"lm_head.weight": (self.vocabulary, self.hidden)}),
        }
        numbers = range(self.num_layers)
        return outer | {f"model.layers.{i}.{name}": shape for i in numbers for name, shape in layer.items()}

    @property
    def state_bytes(self) -> int:
        """Of one token in the KV cache."""
        return 2 * self.num_layers * self.kv_heads * self.head_dim * 4


def _biased(config: dict[str, Any]) -> tuple[str, ...]:
    read = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    if config["model_type"] == "qwen2":
        return read
    attention = (*read, "self_attn.o_proj") if config.get("attention_bias") else ()
    feed = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj") if config.get("mlp_bias") else ()
    return (*attention, *feed)

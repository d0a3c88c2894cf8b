"""Attention of packed sequences, and of recorded passes, by torch's own kernels.

In: queries, keys and values of one layer, as transformers hands them to an attention function. Out: what
comes of it. Registered under the name `ATTENTION`, without masks: these follow from how tokens are packed.
Notable: a family whose attention has a term that this one has not is refused, as it would be computed wrongly
without a sign of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from codefilter.errors import ModelError

ATTENTION = "codefilter_packed"
KNOWN_MASKS = {"full_attention", "sliding_attention"}

_TESTED_FAMILIES = (
    "Llama, Mistral, Qwen2, Qwen3, StarCoder2, Gemma 3, Cohere2, OPT, GPT-2, GPT-NeoX, GPTBigCode, CodeGen"
)
# What some families hand to their attention beside queries, keys and values: gpt-oss, Gemma 2, ...
_UNKNOWN_TERMS = ("softcap", "s_aux", "sinks", "position_bias", "indices", "block_indices")


def unknown_attention(why: str) -> ModelError:
    """The error of a family that cannot be computed here."""
    return ModelError(
        f"this model's attention is not known to CodeFilter: {why}",
        hint=f"Let a server run it (--model remote:URL), or take a model of another family; tested are "
        f"{_TESTED_FAMILIES}.",
    )


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,  # (1, heads, tokens, head_dim)
    key: Tensor,  # (1, kv_heads, shared + tokens, head_dim)
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: Sequence[int] | None = None,  # lengths of the packed sequences; None: one sequence
    slots: Tensor | None = None,  # (tokens,): where the queries stand among keys that go on behind them
    sliding_window: int | None = None,
    seen: set[torch.nn.Module] | None = None,  # is told which layers come here
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention of packed sequences over a shared beginning; (1, tokens, heads, head_dim).

    Raises:
        ModelError: the family's attention has a term or a mask that this one has not.
    """
    unknown = [name for name in _UNKNOWN_TERMS if kwargs.get(name) is not None]
    if unknown or attention_mask is not None:
        raise unknown_attention(f"it has {', '.join(unknown) or 'a mask of its own'}")
    if seen is not None:
        seen.add(module)
    if slots is not None:
        visible = _causal_mask(slots, key.shape[2], sliding_window)
        return _attend(query, key, value, visible, scaling).transpose(1, 2).contiguous(), None
    tokens = query.shape[2]
    shared = key.shape[2] - tokens
    outputs = []
    start = 0
    for length in segments or (tokens,):
        stop = start + length
        if start == 0:
            k, v = key[:, :, : shared + stop], value[:, :, : shared + stop]
        else:
            own = slice(shared + start, shared + stop)
            k = torch.cat((key[:, :, :shared], key[:, :, own]), dim=2)
            v = torch.cat((value[:, :, :shared], value[:, :, own]), dim=2)
        mask = None
        narrow = sliding_window is not None and k.shape[2] > sliding_window
        plain_causal = shared == 0 and not narrow
        if narrow or (length > 1 and not plain_causal):
            places = torch.arange(k.shape[2] - length, k.shape[2], device=query.device)
            mask = _causal_mask(places, k.shape[2], sliding_window if narrow else None)
        outputs.append(_attend(query[:, :, start:stop], k, v, mask, scaling))
        start = stop
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    return joined.transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None) -> Tensor:
    """Of one sequence; without a mask every query sees the keys up to its own, a single one sees all."""
    grouped = query.shape[1] != key.shape[1]
    if grouped and mask is not None and _masks_need_all_heads(query):
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
        grouped = False
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None and query.shape[2] > 1,
        scale=scaling,
        enable_gqa=grouped,
    )


def _masks_need_all_heads(query: Tensor) -> bool:
    """Whether torch has no fast kernel here for a mask and heads that share keys: it has none on CUDA."""
    return query.is_cuda


def _causal_mask(places: Tensor, keys: int, window: int | None) -> Tensor:
    """(queries, keys): which keys each query, standing at its place, attends to."""
    queries = places.unsqueeze(1)
    others = torch.arange(keys, device=places.device).unsqueeze(0)
    mask = others <= queries
    return mask & (others > queries - window) if window is not None else mask


AttentionInterface.register(ATTENTION, packed_attention)
AttentionMaskInterface.register(ATTENTION, lambda *args, **kwargs: None)

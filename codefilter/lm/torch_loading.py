"""A model folder → a module of transformers, and what it is to run on and in.

In: a folder, names of a device and a number type. Out: a causal model on the CPU; the device; the type.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from codefilter.errors import ModelError, UsageError, first_line
from codefilter.lm.torch_attention import unknown_attention

transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # "Loading weights" takes a second or two


def load_module(folder: Path, dtype: torch.dtype, attention: str) -> Any:
    """The causal model of a folder, on the CPU; `ModelError` where it cannot be loaded."""
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,  # a folder's own Python never runs, and nobody is asked
            ignore_mismatched_sizes=True,  # refused below, with what is missing
            output_loading_info=True,
        )
    except Exception as error:  # errors of transformers, of safetensors, of a quantiser that is not there
        if isinstance(error, KeyError) and error.args == (attention,):  # the family has a table of its own
            raise unknown_attention("it takes none but its own") from error
        raise ModelError(
            f"{folder} cannot be loaded: {first_line(error)}",
            hint="The folder must hold config.json, tokenizer.json and whole safetensors of a causal model "
            "that transformers itself knows.",
        ) from error
    model, found = loaded
    unfit = sorted(found["missing_keys"] | {name for name, *_ in found["mismatched_keys"]})
    if unfit:  # transformers would make random ones
        raise ModelError(
            f"the weights in {folder} do not fit its config.json: {len(unfit)} tensors, first {unfit[0]}",
            hint="Copy the folder again, whole.",
        )
    return model


def choose_device(name: str) -> torch.device:
    """The named device, or the best one for "auto"; `UsageError` where it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    available = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    try:
        device = torch.device(name)
    except RuntimeError:  # "tpu", "cpu:x"
        device = None
    if device is None or (device.index or 0) >= available.get(device.type, 0):
        there = ", ".join(kind for kind, number in available.items() if number)
        raise UsageError(f"device {name!r} is not available", hint=f"Available here: {there}.")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The named dtype, or for "auto" the fastest one that the device computes in directly."""
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name in named:
        return named[name]
    if name != "auto":
        raise UsageError(f"unknown dtype {name!r}", hint=f"One of: auto, {', '.join(named)}.")
    if device.type == "cuda":
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device.type == "mps":
        return torch.float16
    # torch emulates bfloat16 on any processor; it is faster than float32 only where the instructions exist
    capable = torch.cpu.get_capabilities()
    return torch.bfloat16 if capable.get("avx512_bf16") or capable.get("amx_bf16") else torch.float32

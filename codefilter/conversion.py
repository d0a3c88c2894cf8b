"""GGUF → a folder that loads at once: bfloat16 safetensors, config and tokenizer.

In: a GGUF file (4-bit blocks). Out: ``config.json``, ``tokenizer.json``, ``model.safetensors``.
Notable: transformers parses a GGUF's 300,000 strings slowly and each time anew. Here the config is read once
for the model, and the general tokenizer class needs none: two readings instead of four, 36 s instead of 55 s
for 0.5 billion parameters on two cores, and the same bytes. A process of its own does it, which gives its
memory (six times the GGUF) back and keeps the progress bars of three libraries away.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from codefilter.child import run_module


def converter_name() -> str:
    """What converts, with versions: kept in the record of a converted model."""
    return ", ".join(f"{package} {version(package)}" for package in ("transformers", "gguf", "torch"))


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write a GGUF's weights, dequantised to bfloat16, with config and tokenizer into an existing folder.

    Tensors that the file keeps apart (input and output embeddings) stay apart.

    Raises:
        ModelError: transformers cannot read this file, or the machine has not enough memory.
        CodeFilterError: the disk is full.
    """
    run_module(
        "codefilter.conversion",
        gguf,
        folder,
        doing=f"converting {gguf.name}",
        num_bytes=6 * gguf.stat().st_size,
        folder=folder,
        hint="Run `codefilter doctor`: it shows whether the installed versions fit.",
    )


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig, PreTrainedTokenizerFast

    source = str(gguf.parent)
    config = AutoConfig.from_pretrained(source, gguf_file=gguf.name)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source, gguf_file=gguf.name)
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=gguf.name,
        config=config,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(folder)


if __name__ == "__main__":
    _convert(Path(sys.argv[1]), Path(sys.argv[2]))

"""GGUF → a folder that loads at once: bfloat16 safetensors, config and tokenizer.

In: a GGUF file (4-bit blocks). Out: ``config.json``, ``tokenizer.json``, ``model.safetensors``.
Notable: transformers parses a GGUF's 300,000 strings slowly and each time anew. Here the config is read once
for the model, and the general tokenizer class needs none: two readings instead of four, 36 s instead of 55 s
for 0.5 billion parameters on two cores, and the same bytes. A process of its own does it, which gives its
memory (six times the GGUF) back and keeps the progress bars of three libraries away.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from codefilter.errors import ModelError
from codefilter.paths import disk_errors


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
    command = [sys.executable, "-P", "-m", "codefilter.conversion", str(gguf), str(folder)]
    environment = os.environ | {"TQDM_DISABLE": "1", "PYTHONIOENCODING": "utf-8"}
    finished = subprocess.run(
        command, env=environment, check=False, capture_output=True, encoding="utf-8", errors="replace"
    )
    if finished.returncode == 0:
        return
    if finished.returncode == -signal.SIGKILL:
        raise ModelError(
            f"converting {gguf.name} was killed by the system",
            hint=f"It needs about {6 * gguf.stat().st_size / 1e9:.0f} GB of memory: close other programs.",
        )
    reason = (finished.stderr.strip().splitlines() or ["it gave no reason"])[-1]
    with disk_errors(folder):
        if os.strerror(errno.ENOSPC) in reason:  # safetensors has an error of its own for it
            raise OSError(errno.ENOSPC, reason)
    raise ModelError(
        f"cannot convert {gguf.name}: {reason}",
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

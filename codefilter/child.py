"""A module of this package in a process of its own: for work whose memory must be given back.

In: the module's name and its arguments. Out: nothing, or an error that says why it ended.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

from codefilter.errors import ModelError
from codefilter.paths import disk_errors


def run_module(name: str, *arguments: Path, doing: str, num_bytes: int, folder: Path, hint: str) -> None:
    """Run a module as a program that writes into a folder.

    Args:
        name: of the module.
        arguments: of the program.
        doing: what it does, for people: "converting x.gguf".
        num_bytes: the memory that it needs, about.
        folder: on the disk that it writes to.
        hint: what to do where it fails for another reason than memory or disk.

    Raises:
        ModelError: it failed, or the system killed it.
        CodeFilterError: the disk is full.
    """
    command = [sys.executable, "-P", "-m", name, *map(str, arguments)]
    environment = os.environ | {"TQDM_DISABLE": "1", "PYTHONIOENCODING": "utf-8"}
    finished = subprocess.run(
        command, env=environment, check=False, capture_output=True, encoding="utf-8", errors="replace"
    )
    if finished.returncode == 0:
        return
    if finished.returncode == -getattr(signal, "SIGKILL", 0):  # Windows has none; and 0 has returned above
        raise ModelError(
            f"{doing} was killed by the system",
            hint=f"It needs about {num_bytes / 1e9:.0f} GB of memory: close other programs.",
        )
    reason = (finished.stderr.strip().splitlines() or ["it gave no reason"])[-1]
    with disk_errors(folder):
        if os.strerror(errno.ENOSPC) in reason:  # safetensors has an error of its own for it
            raise OSError(errno.ENOSPC, reason)
    raise ModelError(f"{doing} failed: {reason}", hint=hint)

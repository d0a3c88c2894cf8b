"""What figures were measured on, and by which code; seconds mean little without it.

In: the running machine, this checkout. Out: a few words for records, without names; and the processor's
instructions, which decide what the CPU engine computes in.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

# flag in /proc/cpuinfo → what people call it; the first that is there decides how fast a model is read
_INSTRUCTIONS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}
_CPUINFO = Path("/proc/cpuinfo")


def machine(cpuinfo: Path = _CPUINFO) -> str:
    """Architecture, instructions where they are told, cores, system: ``x86_64 AVX2, 2 cores, Linux``."""
    architecture = f"{platform.machine()} {instructions(cpuinfo)}".rstrip()
    return f"{architecture}, {os.cpu_count()} cores, {platform.system()}"


def instructions(cpuinfo: Path = _CPUINFO) -> str:
    """The processor's best instructions for a model, as ``AVX-512 VNNI``; empty where none are told."""
    flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.exists() else set[str]()
    return next((name for flag, name in _INSTRUCTIONS.items() if flag in flags), "")


def commit(root: Path = Path(__file__).parents[1]) -> str:
    """The commit of this checkout, ``-dirty`` where tracked files are changed; empty outside one.

    An installed package lies in no checkout, though perhaps in one of another project.
    """
    if not (root / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return found.stdout.strip()

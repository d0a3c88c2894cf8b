"""What figures were measured on, in a few words and without names; seconds mean little without it.

In: the running machine. Out: one line for records.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

# flag in /proc/cpuinfo → what people call it; the first that is there decides how fast a model is read
_INSTRUCTIONS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Architecture, instructions where they are told, cores, system: ``x86_64 AVX2, 2 cores, Linux``."""
    flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.exists() else set[str]()
    instructions = next((f" {name}" for flag, name in _INSTRUCTIONS.items() if flag in flags), "")
    return f"{platform.machine()}{instructions}, {os.cpu_count()} cores, {platform.system()}"

"""What records say of the machine."""

import os
import platform
from pathlib import Path

import pytest

from codefilter.machine import machine


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 fma", " AVX2"),
        ("avx2 avx512f avx512_vnni", " AVX-512 VNNI"),
        ("avx2 avx512f", " AVX-512"),
        ("avx2 avx_vnni", " AVX-VNNI"),
        ("fpu", ""),
    ],
)
def test_the_best_instructions_are_named(flags: str, expected: str, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert machine(cpuinfo) == f"{platform.machine()}{expected}, {os.cpu_count()} cores, {platform.system()}"


def test_a_system_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    assert machine(tmp_path / "none").startswith(f"{platform.machine()}, ")

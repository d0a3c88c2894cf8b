"""A module in a process of its own: what can end it is told apart."""

import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from codefilter.child import run_module
from codefilter.errors import CodeFilterError


def run(folder: Path) -> None:
    run_module(
        "codefilter.conversion",
        folder / "none.gguf",
        folder,
        doing="converting none.gguf",
        num_bytes=3_000_000_000,
        folder=folder,
        hint="Run `codefilter doctor`.",
    )


def test_what_a_module_says_last_is_the_reason(tmp_path: Path) -> None:
    with pytest.raises(CodeFilterError, match=r"^converting none\.gguf failed: \w*Error: ") as caught:
        run(tmp_path)
    assert "\n" not in caught.value.message
    assert "doctor" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "complaint", "message", "hint"),
    [
        (-signal.SIGKILL, "a warning\n", "killed by the system", "about 3 GB of memory"),
        (1, f"SafetensorError: I/O error: {os.strerror(errno.ENOSPC)} (os error 28)\n", "no space left", ""),
        (1, "", "failed: it gave no reason", "doctor"),
    ],
)
def test_what_can_end_a_process_is_told_apart(
    tmp_path: Path, status: int, complaint: str, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.CompletedProcess([], status, "", complaint)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(CodeFilterError, match=message) as caught:
        run(tmp_path)
    assert hint in caught.value.hint


def test_a_process_that_ends_well_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, "", "a warning")
    )
    run(tmp_path)
    assert capsys.readouterr() == ("", "")

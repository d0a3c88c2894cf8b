import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from codefilter.conversion import convert_gguf
from codefilter.errors import CodeFilterError, ModelError


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A file that is no GGUF, and a folder ``out`` beside it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "broken.gguf").write_bytes(b"not a model")
    return tmp_path / "broken.gguf"


def test_a_file_that_is_no_gguf_is_one_line_with_a_hint(broken: Path) -> None:
    with pytest.raises(ModelError, match=r"^cannot convert broken\.gguf: ") as caught:
        convert_gguf(broken, broken.parent / "out")
    assert "\n" not in caught.value.message
    assert "doctor" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "complaint", "message"),
    [
        (-signal.SIGKILL, "", "killed by the system"),
        (1, f"SafetensorError: I/O error: {os.strerror(errno.ENOSPC)} (os error 28)\n", "no space left"),
        (1, "", "cannot convert .* no reason"),
    ],
)
def test_what_can_end_a_conversion_is_told_apart(
    broken: Path, status: int, complaint: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.CompletedProcess([], status, "", complaint)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(CodeFilterError, match=message) as caught:
        convert_gguf(broken, broken.parent / "out")
    assert caught.value.hint

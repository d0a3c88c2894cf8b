"""Fetching the editors' programs, without fetching anything."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.editors import tools


@pytest.mark.parametrize("is_there", [True, False])
def test_what_drives_the_browser_is_installed_with_it(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("chromium/chromium", "code-server"):
        (tmp_path / place).mkdir(parents=True)
    commands: list[list[str]] = []
    monkeypatch.setattr(tools, "TOOLS", tmp_path)
    monkeypatch.setattr(tools, "MODULES", tmp_path)
    monkeypatch.setattr(tools, "_run", lambda command, *_: commands.append(command))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if is_there else None)
    tools._fetch_browser_and_code()
    assert bool(commands) != is_there
    for command in commands:
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        assert [part for part in command if part.startswith("playwright>=")]

"""The shipped configuration in Helix itself, driven by keys, read off its screen."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from codefilter.paths import cache_path
from tests.editors import tools
from tests.editors.terminal import ENTER, TAB, Terminal

CONFIGURATION = tools.ROOT / "lsp" / "editors" / "helix" / "languages.toml"
COMPLETE = "\x18"  # Control-X
FAKE = 'model = "fake"\nfilter = "all"\ndebounce_ms = 0\n'


@pytest.fixture
def settings() -> str:
    return FAKE


@pytest.fixture
def helix(sample_repository: Path, tmp_path: Path, settings: str) -> Iterator[Terminal]:
    folder = tmp_path / "config" / "helix"
    folder.mkdir(parents=True)
    server = f'command = {json.dumps(sys.executable)}\nargs = ["-m", "codefilter_lsp"]'
    text = CONFIGURATION.read_text().replace('command = "codefilter-lsp"', server)
    options = "[language-server.codefilter.config]\n"
    (folder / "languages.toml").write_text(text.replace(options, options + settings))
    no_words = "[editor.word-completion]\nenable = false\n"  # their menu would be there first
    (folder / "config.toml").write_text(no_words)
    (sample_repository / ".git").mkdir()
    variables = {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),  # for Helix's log; the server's cache stays where it is
        "CODEFILTER_CACHE": str(cache_path()),
    }
    terminal = Terminal([str(tools.helix()), "-v", "shop/new.py"], sample_repository, variables)
    try:
        terminal.until("NOR", "shop/new.py")
        yield terminal
    finally:
        terminal.close()


def test_a_completion_is_taken_from_the_menu(helix: Terminal, sample_repository: Path) -> None:
    helix.keys(f"iwidth = compute_width(box){ENTER}other = compute_w")
    helix.until("compute_width(box) text", pressing=COMPLETE)  # the server may not have been there before
    helix.keys(TAB)
    helix.until("other = compute_width(box)")
    helix.keys(ENTER)  # the menu closes
    helix.escape()
    helix.keys(f":w{ENTER}")
    helix.until("written")
    assert "other = compute_width(box)\n" in (sample_repository / "shop" / "new.py").read_text()
    helix.keys(f":lsp-workspace-command codefilter.explain{ENTER}")
    helix.until("Completion at shop/new.py:2")


@pytest.mark.slow
@pytest.mark.usefixtures("default_model_pulled")
@pytest.mark.parametrize("settings", [""])
def test_with_the_default_model(helix: Terminal) -> None:
    helix.keys(f"ifrom shop.orders import Order{ENTER}{ENTER}{ENTER}def bill(order: Order) -> float:{ENTER}")
    helix.keys("    return order.total_")  # Debian's Helix has no grammars to indent by
    helix.until("total_amount()", " text", pressing=COMPLETE)
    helix.keys(TAB)
    helix.until("return order.total_amount()")

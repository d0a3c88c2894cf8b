"""The plugin in Emacs itself, with both of its clients, driven by keys, read off its screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.editors import tools
from tests.editors.terminal import ENTER, TAB, Terminal

PLUGIN = tools.ROOT / "lsp" / "editors" / "emacs"
COMPLETE = "\x1b\t"  # Alt-Tab
UNDO_AND_REDO = " \x7f"  # a change, so that the client asks again
FAKE = '(:model "fake" :filter "all" :debounceMs 0)'
INIT = """
(setq inhibit-startup-screen t make-backup-files nil auto-save-default nil
      python-indent-guess-indent-offset nil
      native-comp-jit-compilation nil native-comp-enable-subr-trampolines nil)
(add-to-list 'load-path "{plugin}")
(require 'codefilter)
(setq codefilter-command '("{python}" "-m" "codefilter_lsp") codefilter-options '{options})
"""
EGLOT = """
(codefilter-eglot-alone 'python-mode)
(add-hook 'python-mode-hook #'eglot-ensure)
"""
LSP_MODE = """
(load "lsp-mode-autoloads")
(setq lsp-auto-guess-root t lsp-completion-provider :none lsp-session-file "{session}")
(add-hook 'python-mode-hook #'lsp)
"""


@pytest.fixture
def options() -> str:
    return FAKE


@pytest.fixture
def client() -> str:
    return EGLOT


@pytest.fixture
def emacs(sample_repository: Path, tmp_path: Path, client: str, options: str) -> Iterator[Terminal]:
    (sample_repository / ".git").mkdir()
    init = tmp_path / "init.el"
    text = (INIT + client).format(
        plugin=PLUGIN, python=sys.executable, options=options, session=tmp_path / "session"
    )
    init.write_text(text)
    command = [str(tools.emacs()), "-nw", "-Q", "-l", str(init), "shop/new.py"]
    terminal = Terminal(command, sample_repository, {})
    try:
        terminal.until("eglot:" if client is EGLOT else "LSP[codefilter")
        yield terminal
    finally:
        terminal.close()


def test_eglot_completes_and_the_completion_is_explained(emacs: Terminal) -> None:
    emacs.keys(f"width = compute_width(box){ENTER}other = compute_w")
    emacs.until("other = compute_width(box)", pressing=COMPLETE)
    emacs.keys(f"\x1bxcodefilter-status{ENTER}")
    emacs.until(":message")
    emacs.keys(f"\x1bxcodefilter-explain{ENTER}")
    emacs.until("# Completion at shop/new.py:2")


@pytest.mark.parametrize("client", [LSP_MODE])
def test_lsp_mode_shows_ghost_text_and_tab_takes_it(emacs: Terminal, sample_repository: Path) -> None:
    emacs.keys(f"width = compute_width(box){ENTER}other = compute_w")
    emacs.until("other = compute_width(box)", pressing=UNDO_AND_REDO)
    emacs.keys(TAB)
    emacs.keys("\x18\x13")  # save
    emacs.until("Wrote")
    written = (sample_repository / "shop" / "new.py").read_text()
    assert written == "width = compute_width(box)\nother = compute_width(box)\n"


EGLOT_LOG = (
    "(cl-defmethod eglot-handle-notification (_s (_m (eql window/logMessage)) &key message &allow-other-keys)"
    ' (message "said %s" message))'
)
LSP_MODE_LOG = '(advice-add \'lsp--window-log-message :after (lambda (&rest said) (message "said %S" said)))'


@pytest.mark.parametrize(
    ("client", "log"), [(EGLOT, EGLOT_LOG), (LSP_MODE, LSP_MODE_LOG)], ids=["eglot", "lsp-mode"]
)
def test_the_server_is_told_where_the_cursor_rests(emacs: Terminal, log: str) -> None:
    emacs.keys(f"\x1b:{log}{ENTER}")
    emacs.keys(f"\x18\x06orders.py{ENTER}")
    emacs.until("shop/orders.py: read ahead", pressing="\x0e")  # the next line


@pytest.mark.slow
@pytest.mark.usefixtures("default_model_pulled")
@pytest.mark.parametrize("options", ["(:latencyBudgetMs 0)"])
def test_with_the_default_model(emacs: Terminal) -> None:
    emacs.keys(f"from shop.orders import Order{ENTER}{ENTER}{ENTER}def bill(order: Order) -> float:{ENTER}")
    emacs.keys("return order.total_")  # Emacs indents
    emacs.until("return order.total_amount()", pressing=COMPLETE)


@pytest.mark.parametrize("options", ['(:model "fake:prompt_ms=2" :filter "all" :latencyBudgetMs 0)'])
@pytest.mark.parametrize(
    ("client", "asking"), [(EGLOT, COMPLETE), (LSP_MODE, UNDO_AND_REDO)], ids=["eglot", "lsp-mode"]
)
def test_measuring_may_take_longer_than_other_requests(emacs: Terminal, asking: str) -> None:
    emacs.keys("price = price_with_d")
    emacs.until("price = price_with_discount", pressing=asking)
    emacs.keys(f"\x1b:(setq lsp-response-timeout 3 jsonrpc-default-request-timeout 3){ENTER}")
    emacs.keys(f"\x1bxcodefilter-measure{ENTER}")
    emacs.until("Nats per token")

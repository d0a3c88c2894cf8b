"""The plugin in a headless Neovim, driven as a person would: by keys."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.editors import tools
from tests.editors.patience import wait_for

PLUGIN = tools.ROOT / "lsp" / "editors" / "neovim"


class Neovim:
    """One Neovim, reached over its socket."""

    def __init__(self, program: Path, folder: Path, settings: dict[str, Any], before: str = "") -> None:
        self._program = str(program)
        self._namespace = "codefilter"  # of its ghost text
        self._socket = str(folder / "nvim.sock")
        options = {"cmd": [sys.executable, "-m", "codefilter_lsp"], "settings": settings}
        init = folder / "init.lua"
        setup = f"require('codefilter').setup(vim.json.decode([==[{json.dumps(options)}]==]))"
        init.write_text(f"vim.opt.runtimepath:append('{PLUGIN}')\n{before}\n{setup}\n")
        command = [self._program, "--headless", "--clean", "-u", str(init), "--listen", self._socket]
        self._process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL)
        wait_for(Path(self._socket).exists, bool)
        if self.lua("vim.lsp.inline_completion ~= nil"):
            self._namespace = "nvim.lsp.inline_completion"

    def lua(self, expression: str) -> Any:
        """Value of a Lua expression."""
        code = f"json_encode(luaeval({json.dumps(expression)}))".replace("\\n", "\\\\n")
        done = self._remote("--remote-expr", code)
        return json.loads(done.stdout or "null")

    def keys(self, keys: str) -> None:
        """Press keys."""
        self._remote("--remote-send", keys)

    def lines(self) -> list[str]:
        """The buffer's text."""
        found: list[str] = self.lua("vim.api.nvim_buf_get_lines(0, 0, -1, false)")
        return found

    def ghost(self) -> str:
        """The ghost text, all its lines."""
        space = f"vim.api.nvim_get_namespaces()['{self._namespace}']"
        marks = self.lua(f"vim.api.nvim_buf_get_extmarks(0, {space}, 0, -1, {{details = true}})")
        if not marks:
            return ""
        details = marks[0][3]
        lines = [details["virt_text"], *details.get("virt_lines", [])]
        return "\n".join("".join(part[0] for part in line) for line in lines)

    def until_ghost(self, wanted: str, pressing: str = "") -> None:
        """Wait for a ghost text that begins so; keys are pressed again now and then."""
        press = partial(self.keys, pressing) if pressing else None
        wait_for(self.ghost, lambda ghost: ghost.startswith(wanted), press)

    def until_attached(self) -> None:
        """Wait for the server."""
        self.until("#vim.lsp.get_clients({name = 'codefilter', bufnr = 0})", "1")

    def until(self, expression: str, wanted: str) -> None:
        """Wait until the text of a Lua expression holds something."""
        wait_for(lambda: json.dumps(self.lua(expression)), lambda text: wanted in text)

    def close(self) -> None:
        """End it, and with it the server."""
        self.keys("<C-\\><C-N>:qa!<CR>")
        try:
            self._process.wait(15)
        finally:
            self._process.kill()
            self._process.wait()

    def _remote(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self._program, "--server", self._socket, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(params=[tools.neovim, tools.newest_neovim], ids=["0.11", "0.12"])
def program(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param()
    return found


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"model": "fake", "filter": "all", "debounceMs": 0}


@pytest.fixture
def before() -> str:
    """What the user's file says before the plugin is set up."""
    return ""


@pytest.fixture
def neovim(program: Path, sample_repository: Path, settings: dict[str, Any], before: str) -> Iterator[Neovim]:
    editor = Neovim(program, sample_repository, settings, before)
    try:
        yield editor
    finally:
        editor.close()


def test_ghost_text_is_shown_and_taken(neovim: Neovim) -> None:
    neovim.keys(":edit shop/new.py<CR>")
    neovim.until_attached()
    neovim.keys("iwidth = compute_width(box)<CR>other = compute_w")
    neovim.until_ghost("idth(box)")
    neovim.keys("<Tab>")
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "other = compute_width(box)")
    assert neovim.lines() == ["width = compute_width(box)", "other = compute_width(box)"]
    neovim.keys("<CR>last = compute_w")
    neovim.until_ghost("idth(box)")
    neovim.keys("<M-Right>")
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "last = compute_width")
    neovim.until_ghost("(box)")  # what is left
    neovim.keys("<Esc>")
    wait_for(neovim.ghost, lambda ghost: ghost == "")


def test_what_was_typed_on_is_not_written_twice(neovim: Neovim) -> None:
    neovim.keys(":edit shop/new.py<CR>")
    neovim.until_attached()
    neovim.keys("iwidth = compute_width(box)<CR>other = compute_w")
    neovim.until_ghost("idth(box)")
    neovim.keys("id<Tab>")  # faster than any answer
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "other = compute_width(box)")
    neovim.keys("<CR>last = compute_w")
    neovim.until_ghost("idth(box)")
    neovim.keys("id<M-Right>")
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "last = compute_width")
    neovim.until_ghost("(box)")
    neovim.keys("x<Tab>")  # another way: the key is what it was
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "last = compute_widthx")
    time.sleep(0.3)
    assert neovim.lines()[1] == "other = compute_width(box)"
    assert neovim.lines()[2].rstrip() == "last = compute_widthx"


def test_what_is_typed_beside_an_open_menu_is_followed(neovim: Neovim) -> None:
    neovim.keys(":set completeopt=menuone,noinsert,noselect<CR>:edit shop/new.py<CR>")
    neovim.until_attached()
    neovim.keys("iwidth = compute_width(box)<CR>other = compute_w")
    neovim.until_ghost("idth(box)")
    neovim.keys("<C-n>")
    neovim.until("vim.fn.pumvisible()", "1")
    neovim.keys("id")
    neovim.until_ghost("th(box)")
    assert neovim.lua("vim.fn.pumvisible()") == 1
    neovim.keys("<Tab>")
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "other = compute_width(box)")


def test_a_key_without_a_completion_is_that_key(neovim: Neovim) -> None:
    neovim.keys(":set expandtab shiftwidth=4<CR>:edit empty.txt<CR>i<Tab>x<Esc>")
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "x")
    assert neovim.lines()[0].lstrip() == "x"
    assert neovim.lines()[0][0].isspace()


def test_without_a_completion_tab_jumps_in_a_snippet(neovim: Neovim) -> None:
    snippet = "<Cmd>lua vim.snippet.expand('def ${1:name}(${2:values}): pass')<CR>"
    neovim.keys(f":edit empty.txt<CR>i{snippet}")
    neovim.until("vim.api.nvim_get_mode().mode", "s")
    neovim.keys("f<Tab>")
    neovim.until("vim.api.nvim_get_mode().mode", "s")
    neovim.keys("x<Esc>")
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "def f(x): pass")


MAPPINGS = {
    "keys": "vim.keymap.set('i', '<Tab>', 'ab')",
    "function": "vim.keymap.set('i', '<Tab>', function() vim.api.nvim_put({'ab'}, 'c', false, true) end)",
    "expression": "vim.cmd([[inoremap <expr> <Tab> 'a' .. 'b']])",
    "Lua expression": "vim.keymap.set('i', '<Tab>', function() return 'ab' end, {expr = true})",
    "nothing": "vim.keymap.set('i', '<Tab>', function() end, {expr = true})",
    "other mapping": "vim.cmd([[imap <Plug>(b) b\nimap <expr> <Tab> 'a' .. '<Plug>(b)']])",
    "set up twice": "vim.keymap.set('i', '<Tab>', 'ab')\nrequire('codefilter').setup({cmd = {'false'}})",
    "itself": "vim.cmd([[imap <expr> <Tab> v:false ? '<Plug>(b)' : '<Tab>']])",
}


@pytest.mark.parametrize("before", MAPPINGS.values(), ids=MAPPINGS)
def test_without_a_completion_a_key_is_what_the_user_made_of_it(neovim: Neovim, before: str) -> None:
    done = {MAPPINGS["itself"]: "\t", MAPPINGS["nothing"]: ""}.get(before, "ab")
    neovim.keys(":edit shop/new.py<CR>:set noexpandtab softtabstop=0<CR>")
    neovim.until_attached()
    neovim.keys("ia<Tab>.<CR>width = compute_width(box)<CR>other = compute_w")
    neovim.until_ghost("idth(box)")
    neovim.keys("<Tab>")
    wait_for(neovim.lines, lambda lines: lines[-1] == "other = compute_width(box)")
    assert neovim.lines()[0] == f"a{done}."
    neovim.keys("<CR>last = compute_w")
    neovim.until_ghost("idth(box)")
    neovim.keys("x<Tab>")  # another way than the completion's
    wait_for(neovim.lines, lambda lines: lines[-1] == f"last = compute_wx{done}")


def test_the_last_completion_is_explained(neovim: Neovim) -> None:
    neovim.keys(":edit shop/new.py<CR>")
    neovim.until_attached()
    neovim.keys("iprice = price_with_d")
    neovim.until_ghost("iscount", pressing="<BS>d")
    neovim.keys("<Esc>:CodeFilter explain<CR>")
    neovim.until("vim.api.nvim_buf_get_name(0)", "explanations/")
    assert neovim.lines()[0] == "# Completion at shop/new.py:1"
    assert "Nats per token" not in "".join(neovim.lines())
    neovim.keys(":CodeFilter measure<CR>")
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "Nats per token")


def test_commands_go_to_the_server_of_the_buffer(neovim: Neovim, sample_repository: Path) -> None:
    other = shutil.copytree(sample_repository / "shop", sample_repository.with_name("other"))
    for root in (sample_repository, other):
        (root / ".git").mkdir()
    neovim.keys(":edit shop/first.py<CR>")
    neovim.until_attached()
    neovim.keys(f":edit {other}/second.py<CR>")
    neovim.until_attached()
    neovim.keys("iprice = price_with_d")
    neovim.until_ghost("iscount", pressing="<BS>d")
    neovim.keys("<Esc>:CodeFilter explain<CR>")
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "Completion at second.py:1")
    neovim.keys(":CodeFilter measure<CR>")  # on the page, which has no server
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "Nats per token")


def test_commands_are_completed(neovim: Neovim) -> None:
    assert neovim.lua("vim.fn.getcompletion('CodeFilter s', 'cmdline')") == ["snooze", "status"]


def test_the_server_is_told_where_the_cursor_rests(neovim: Neovim) -> None:
    log = "function(_, params) vim.g.said = (vim.g.said or '') .. params.message end"
    neovim.keys(f":lua vim.lsp.handlers['window/logMessage'] = {log}<CR>:edit shop/orders.py<CR>")
    neovim.until_attached()
    wait_for(
        lambda: str(neovim.lua("vim.g.said")),
        lambda said: "shop/orders.py: read ahead" in said,
        partial(neovim.keys, "j"),
    )


def test_a_download_without_the_program_says_how_to_get_it(neovim: Neovim) -> None:
    neovim.keys(":let $PATH = '/nowhere'<CR>:CodeFilter model<CR>")
    neovim.until("vim.fn.execute('messages')", "Install it with :CodeFilter install")


@pytest.mark.slow
@pytest.mark.usefixtures("default_model_pulled")
@pytest.mark.parametrize("settings", [{"latencyBudgetMs": 0}])
def test_with_the_default_model(neovim: Neovim) -> None:
    neovim.keys(":edit shop/bill.py<CR>")
    neovim.until_attached()
    neovim.keys("ifrom shop.orders import Order<CR><CR><CR>def bill(order: Order) -> float:<CR>")
    neovim.keys("    return order.total_")
    neovim.until_ghost("amount()", pressing="<BS>_")
    neovim.keys("<Tab>")
    neovim.until("vim.api.nvim_buf_get_lines(0, 0, -1, false)", "return order.total_amount()")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"model": "smollm2-135m"}, " smollm2-135m"),
        ({"model": "owner/model-1b"}, " owner/model-1b"),
        ({"model": "/models/mine"}, ""),
        ({"model": "remote:http://127.0.0.1:1/"}, ""),
        ({}, ""),
    ],
)
def test_the_model_of_the_settings_is_downloaded(neovim: Neovim, named: str) -> None:
    program = Path(os.environ["XDG_DATA_HOME"], "nvim", "codefilter", "environment", "bin", "codefilter")
    program.parent.mkdir(parents=True)
    asked = program.with_name("asked")
    program.write_text(f'#!/bin/sh\necho "$@" > "{asked}"\n')
    program.chmod(0o755)
    neovim.keys(":CodeFilter model<CR>")
    wait_for(lambda: asked.exists() and asked.read_text(), lambda text: text == f"models pull{named}\n")

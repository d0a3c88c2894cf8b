"""The VS Code extension: its own tests, its package, and VS Code itself in a browser."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.editors import tools

PATIENCE_MS = 60_000


def run_npm(*arguments: str) -> None:
    npm = tools.npm()
    tools.extension_modules()
    done = subprocess.run(
        [npm, *arguments],
        cwd=tools.EXTENSION,
        env={**os.environ, "CODEFILTER_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_extension_compiles_and_its_own_tests_pass() -> None:
    """Among them: Microsoft's protocol library drives the server over stdio."""
    run_npm("test")


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("vsix") / "codefilter.vsix"
    run_npm("run", "package", "--", "--out", str(target))
    return target


def test_the_package_holds_what_it_needs_and_no_more(package: Path) -> None:
    names = {name for name in zipfile.ZipFile(package).namelist() if not name.endswith(".whl")}
    assert names - {"extension/LICENSE.txt"} == {
        "[Content_Types].xml",
        "extension.vsixmanifest",
        "extension/package.json",
        "extension/readme.md",
        "extension/dist/extension.js",
    }


@contextmanager
def vscode(package: Path, project: Path, folder: Path, settings: dict[str, Any]) -> Iterator[Any]:
    """A page of a browser with VS Code in it, the extension installed, a project open."""
    playwright = pytest.importorskip("playwright.sync_api", reason=f"no playwright; {tools.HOW}")
    command = [*tools.code_server(), "--user-data-dir", str(folder / "user")]
    command += ["--extensions-dir", str(folder / "extensions")]
    program = folder / "codefilter-lsp"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m codefilter_lsp "$@"\n')
    program.chmod(0o755)
    quiet = {
        "security.workspace.trust.enabled": False,
        "workbench.startupEditor": "none",
        "chat.disableAIFeatures": True,
        "workbench.secondarySideBar.defaultVisibility": "hidden",
        "editor.quickSuggestions": {"other": "off"},
        "codefilter.server.path": str(program),
    }
    (folder / "user" / "User").mkdir(parents=True)
    (folder / "user" / "User" / "settings.json").write_text(json.dumps(quiet | settings))
    subprocess.run([*command, "--install-extension", str(package)], check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serving = [*command, "--auth", "none", "--bind-addr", f"127.0.0.1:{port}", "--disable-telemetry"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([*serving, str(project)], stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for_port(port)
            with playwright.sync_playwright() as engine:
                options = ["--no-sandbox", "--no-zygote", "--disable-gpu"]
                browser = engine.chromium.launch(executable_path=str(tools.chromium()), args=options)
                page = browser.new_page(viewport={"width": 1200, "height": 720})
                page.goto(f"http://127.0.0.1:{port}/?folder={project}")
                page.wait_for_selector(".monaco-workbench", timeout=PATIENCE_MS)
                yield page
                browser.close()
        finally:
            server.terminate()
            server.wait(30)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


def open_file(page: Any, name: str) -> None:
    """Open a file by its name, when the extension is there."""
    page.wait_for_selector('[id*="codefilter.codefilter"]', timeout=PATIENCE_MS)
    page.keyboard.press("Control+P")
    page.wait_for_selector(".quick-input-widget input", timeout=PATIENCE_MS)
    page.keyboard.type(name)
    page.wait_for_selector(f'.quick-input-list [aria-label*="{Path(name).name}"]', timeout=PATIENCE_MS)
    page.keyboard.press("Enter")
    page.wait_for_selector(".view-lines", timeout=PATIENCE_MS)
    page.wait_for_selector('[id*="codefilter.codefilter"][aria-label*="ready"]', timeout=PATIENCE_MS)
    page.keyboard.press("Control+End")


def run(page: Any, typed: str, listed: str) -> None:
    """Run a command by its name."""
    page.keyboard.press("F1")
    page.keyboard.type(typed)
    page.wait_for_selector(f'.quick-input-list [aria-label*="{listed}"]', timeout=PATIENCE_MS)
    page.keyboard.press("Enter")


def text_of(page: Any) -> str:
    return "\n".join(page.locator(".view-line").all_inner_texts()).replace("\xa0", " ")


def show(page: Any, name: str) -> None:
    """Keep a picture where the variable PICTURES says."""
    if folder := os.environ.get("PICTURES"):
        page.screenshot(path=str(Path(folder) / name))


@pytest.mark.slow
def test_in_vscode_itself(package: Path, sample_repository: Path, tmp_path: Path) -> None:
    (sample_repository / "shop" / "new.py").write_text("from shop import pricing\n\n")
    with vscode(package, sample_repository, tmp_path, {"codefilter.model": "fake:token_ms=1"}) as page:
        open_file(page, "shop/new.py")
        page.keyboard.type("price = pricing.price_with_d", delay=50)
        ghost = page.wait_for_selector(".ghost-text-decoration", timeout=PATIENCE_MS)
        assert ghost.inner_text().startswith("iscount")
        page.keyboard.press("Tab")
        page.wait_for_function(
            "() => [...document.querySelectorAll('.view-line')].some(line => "
            "line.textContent.includes('pricing.price_with_discount'))",
            timeout=PATIENCE_MS,
        )
        page.keyboard.press("Escape")
        run(page, "CodeFilter: Show What the Last", "Last Completion Was Made")
        page.get_by_text("shop/pricing.py:").first.wait_for(timeout=PATIENCE_MS)
        run(page, "CodeFilter: Measure What", "Each Chunk Did")
        page.get_by_text("nats · price_with").first.wait_for(timeout=PATIENCE_MS)
        show(page, "vscode-attribution.png")


@pytest.mark.slow
@pytest.mark.usefixtures("default_model_pulled")
def test_with_the_default_model(package: Path, sample_repository: Path, tmp_path: Path) -> None:
    start = "from shop.orders import Order\n\n\ndef bill(order: Order) -> float:\n    return order."
    (sample_repository / "shop" / "bill.py").write_text(start)
    with vscode(package, sample_repository, tmp_path, {"codefilter.latencyBudgetMs": 0}) as page:
        open_file(page, "shop/bill.py")
        run(page, "CodeFilter: Show What the Last", "Last Completion Was Made")
        page.locator(".pane-header", has_text="shop-repository").first.click()  # room for the view
        page.locator(".view-line").last.click()
        page.keyboard.press("Control+End")
        page.keyboard.type("total_", delay=50)
        page.wait_for_selector(".ghost-text-decoration", timeout=PATIENCE_MS)
        show(page, "vscode.png")
        page.keyboard.press("Tab")
        page.wait_for_function(
            "() => [...document.querySelectorAll('.view-line')].some(line => "
            "line.textContent.includes('total_amount()'))",
            timeout=PATIENCE_MS,
        )

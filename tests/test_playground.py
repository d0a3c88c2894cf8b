"""The playground: its web server's manners, and the page in a headless browser."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pygls.exceptions import JsonRpcInternalError

from bootstrap import DEMO_FILE, DEMO_PACKAGE, DEMO_PLACE
from codefilter.errors import CodeFilterError, UsageError
from codefilter.packages import load_corpora, package_folder
from codefilter.paths import cache_path
from codefilter.playground.monaco import FILES, SCRIPT, SHA256, STYLE, WORKER, monaco_folder
from codefilter.playground.pages import HOST, Playground
from codefilter.playground.session import Session
from tests.editors import tools

PATIENCE_MS = 60_000
MEASURING_MS = 300_000  # the default model reads ten chunks; one core without VNNI takes more than a minute
GHOST = ".ghost-text-decoration"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.conftest import SAMPLE_FILES

    root = tmp_path_factory.mktemp("playground") / "shop-repository"
    for name, text in SAMPLE_FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "shop" / "new.py").write_text("from shop import pricing\n\nprice = pricing.")
    return root


@contextmanager
def running(session: Session, monaco: Path) -> Iterator[Playground]:
    """A playground that answers."""
    try:
        session.start()
        with Playground(session, monaco) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()
    finally:
        session.stop()


@pytest.fixture(scope="module")
def playground(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """A running playground with the fake model, and a folder in the place of Monaco."""
    folder = tmp_path_factory.mktemp("monaco")
    (folder / SCRIPT).write_text("// no editor")
    (folder / STYLE).write_text("/* no style */")
    (folder / FILES[WORKER]).parent.mkdir()
    (folder / FILES[WORKER]).write_text("// no worker")
    with running(
        Session(repository, {"model": "fake", "filter": "all"}, {"debounceMs": 0}), folder
    ) as server:
        yield server


class Page:
    """What a page can ask."""

    def __init__(self, server: Playground) -> None:
        self._server = server
        self.headers = {"Host": f"{HOST}:{server.server_port}", "Content-Type": "application/json"}

    def ask(self, name: str, body: object = None, token: str | None = None) -> tuple[int, Any, Any]:
        connection = http.client.HTTPConnection(HOST, self._server.server_port, timeout=30)
        path = f"/{self._server.token if token is None else token}/{name}"
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        connection.request(method, path, content, self.headers)
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        is_json = answer.getheader("Content-Type") == "application/json"
        return answer.status, json.loads(read) if is_json else read, answer.headers


@pytest.fixture
def page(playground: Playground) -> Page:
    return Page(playground)


def test_the_page_its_files_and_what_it_may_do(page: Page) -> None:
    status, html, headers = page.ask("")
    assert status == 200
    assert b"playground.js" in html
    assert b"http://" not in html
    assert b"https://" not in html
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    for name in (
        "playground.js",
        "playground.css",
        f"monaco/{SCRIPT}",
        f"monaco/{STYLE}",
        f"monaco/{WORKER}",
    ):
        assert page.ask(name)[0] == 200
    for name in (
        "session.py",
        "../pages.py",
        "monaco/../../secret",
        "static/index.html",
        "monaco/LICENSE",
        SCRIPT,
    ):
        assert page.ask(name)[0] == 404


def test_requests_that_no_browser_sends(page: Page, playground: Playground) -> None:
    for asked in (
        "GET x",
        "GET /\xff",
        "GET http://[/",
        "POST /\xe9/complete",
    ):
        with socket.create_connection((HOST, playground.server_port), 10) as connection:
            head = f"{asked} HTTP/1.1\r\nHost: {HOST}:{playground.server_port}\r\n\r\n"
            connection.sendall(head.encode("latin-1"))
            assert connection.recv(1000).startswith(b"HTTP/1.1 404")
    page.headers["Content-Length"] = "many"
    assert page.ask("complete", {})[0] == 400


def test_without_the_token_and_under_another_name_there_is_nothing(
    page: Page, playground: Playground
) -> None:
    for token in ("", "x", playground.token[:-1]):
        assert page.ask("files", token=token)[0] == 404
        assert page.ask("complete", {}, token=token)[0] == 404
    page.headers["Host"] = "evil.example"
    assert page.ask("files")[0] == 404
    assert playground.server_address[0] == "127.0.0.1"


def test_the_address_that_a_browser_is_started_with_leads_there_once(playground: Playground) -> None:
    assert playground.token not in playground.url_for_once
    ticket = playground.url_for_once.rpartition("/")[2]
    answers = []
    for host in ("evil.example", None, None):
        connection = http.client.HTTPConnection(HOST, playground.server_port, timeout=30)
        connection.request("GET", f"/{ticket}", headers={"Host": host} if host else {})
        answer = connection.getresponse()
        answers.append((answer.status, answer.getheader("Location")))
        connection.close()
    assert answers == [(404, None), (302, playground.url), (404, None)]


def test_what_the_server_refuses_is_an_answer(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self: Session, name: str, *arguments: object) -> None:
        raise JsonRpcInternalError("a server that takes text cannot score text")

    monkeypatch.setattr(Session, "_command", refuse)
    status, said, _ = page.ask("attribute", {"id": "x"})
    assert (status, said) == (400, {"error": "a server that takes text cannot score text"})


def test_a_server_that_has_ended_by_itself_can_be_stopped(repository: Path) -> None:
    session = Session(repository, {"model": "fake"})
    session.start()
    process = session._client._server
    assert process is not None
    process.kill()  # as the terminal's Ctrl-C does
    session.stop()


def test_only_source_files_of_the_repository_are_shown(page: Page) -> None:
    _, listed, _ = page.ask("files")
    assert "shop/orders.py" in listed["files"]
    assert ".env" not in listed["files"]
    assert page.ask("open", {"path": "shop/orders.py"})[1]["text"].startswith('"""Orders."""')
    for path in (".env", "build/generated.py", "../conftest.py", "/etc/passwd", ""):
        status, said, _ = page.ask("open", {"path": path})
        assert status == 400
        assert "is not shown" in said["error"]


def test_a_completion_with_what_it_was_made_from(page: Page) -> None:
    text = "from shop import pricing\n\nprice = pricing.price_with_d"
    place = {"path": "shop/new.py", "text": text, "line": 2, "character": 28}
    found: dict[str, Any] = {"items": []}
    while not found["items"] or not found["items"][0]["insertText"].startswith("iscount(net"):
        found = page.ask("complete", place)[1]  # until the index is there
        place["text"] = f"{text}\n" if place["text"] == text else text
    explanation = found["explanation"]
    assert "shop/pricing.py" in {chunk["path"] for chunk in explanation["chunks"]}
    assert explanation["stage_seconds"]
    measured = page.ask("attribute", {"id": explanation["id"]})[1]["impacts"]
    assert set(measured) == {chunk["id"] for chunk in explanation["chunks"]}
    assert page.ask("accept", {"command": found["items"][0]["command"]})[0] == 200
    assert page.ask("status")[1]["kind"] == "Normal"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("open", {}),
        ("complete", {}),
        ("complete", []),
        ("complete", b"{"),
        ("accept", {"command": 3}),
        ("unknown", {}),
    ],
)
def test_questions_of_the_wrong_form(page: Page, name: str, body: object) -> None:
    assert page.ask(name, body)[0] == 400


def test_a_foreign_page_cannot_post_a_form(page: Page) -> None:
    page.headers["Content-Type"] = "text/plain"
    assert page.ask("complete", {"path": "a"})[0] == 400


def test_what_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Session(tmp_path / "missing", {})
    with pytest.raises(UsageError):
        Session(tmp_path, {})


def test_reading_is_for_source_files(repository: Path) -> None:
    with pytest.raises(CodeFilterError):
        Session(repository, {}).read(".env")


@pytest.fixture
def monaco(user_cache: None) -> Path:
    """Monaco, if it was fetched already: tests do not download."""
    from codefilter.paths import cache_path

    if not (cache_path() / "playground" / f"monaco-{SHA256[:12]}").is_dir():
        pytest.skip("Monaco is not in the cache; codefilter playground fetches it")
    return monaco_folder()


def show(page: Any, name: str) -> None:
    """Keep a picture where the variable PICTURES says."""
    if folder := os.environ.get("PICTURES"):
        page.screenshot(path=str(Path(folder) / name))


@contextmanager
def browser_at(server: Playground, file: str) -> Iterator[Any]:
    """A page of a headless browser with a file of the repository in it; nothing may go wrong in it."""
    playwright = pytest.importorskip("playwright.sync_api", reason=f"no playwright; {tools.HOW}")
    faults: list[str] = []
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=str(tools.chromium()), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1360, "height": 800})
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.goto(f"{server.url}#{file}")
        page.wait_for_selector(".monaco-editor .view-line", timeout=PATIENCE_MS)
        page.wait_for_function(f"() => document.getElementById('files').value === '{file}'")
        yield page
        browser.close()
    assert [fault for fault in faults if fault != "Canceled"] == []  # Monaco's word for superseded requests


def text_of(page: Any) -> str:
    return str(page.evaluate("() => monaco.editor.getModels()[0].getValue()"))


def test_in_a_browser(playground: Playground, monaco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "monaco", monaco)
    with browser_at(playground, "shop/new.py") as page:
        page.keyboard.press("Control+End")
        page.keyboard.type("price_with_d", delay=30)
        ghost = page.wait_for_selector(GHOST, timeout=PATIENCE_MS)
        assert ghost.inner_text().startswith("iscount")
        page.wait_for_selector("#chunks li.used", timeout=PATIENCE_MS)
        assert "shop/pricing.py" in page.inner_text("#chunks")
        page.click("#measure")
        page.wait_for_selector(".impact", timeout=MEASURING_MS)
        page.click("#chunks li >> nth=0")
        assert "def price_with_discount" in page.inner_text("#chunks li >> nth=0")
        page.click(".monaco-editor .view-line >> nth=2")
        page.keyboard.press("Control+End")
        page.keyboard.type("(")
        page.keyboard.press("Backspace")
        page.wait_for_selector(GHOST, timeout=PATIENCE_MS)
        before = text_of(page)
        page.keyboard.press("Tab")
        page.wait_for_function(
            "() => monaco.editor.getModels()[0].getValue().includes('pricing.price_with_discount(net_price')",
            timeout=PATIENCE_MS,
        )
        assert text_of(page).startswith(before)


@pytest.mark.slow
@pytest.mark.usefixtures("default_model_pulled")
def test_with_the_default_model_on_a_real_package(monaco: Path) -> None:
    """What the demo completes, in the browser."""
    package = next(pin for pin in load_corpora() if pin.name == DEMO_PACKAGE)
    if not package_folder(package).is_dir():
        pytest.skip(f"{package.name} is not in the cache; python3.11 bootstrap.py demo fetches it")
    line, column = (int(DEMO_PLACE[DEMO_PLACE.index(name) + 1]) for name in ("--line", "--column"))
    with running(Session(package_folder(package), {}, {"latencyBudgetMs": 0}), monaco) as server:  # noqa: SIM117
        with browser_at(server, DEMO_FILE) as page:
            page.wait_for_selector("#status >> text=ready", timeout=PATIENCE_MS)
            place = f"{{ lineNumber: {line}, column: {column} }}"
            page.evaluate(
                f"""() => {{
                    const [editor] = monaco.editor.getEditors();
                    const rest = {{ startLineNumber: {line}, startColumn: {column}, endLineNumber: {line} }};
                    editor.executeEdits("", [{{ range: {{ ...rest, endColumn: 1000 }}, text: "" }}]);
                    editor.setPosition({place});
                    editor.revealLineInCenter({line});
                }}"""
            )
            page.keyboard.press("Backspace")
            page.keyboard.type("d")
            ghost = page.wait_for_selector(GHOST, timeout=PATIENCE_MS)
            assert ghost.inner_text().replace("\xa0", " ").startswith("er_interface_description(")
            page.click("#measure")
            page.wait_for_selector(".impact", timeout=MEASURING_MS)
            assert "render_interface_description" in page.inner_text("#chunks li >> nth=0")
            page.click(".monaco-editor .view-line >> text=return iface.rend")
            page.keyboard.press("End")
            page.keyboard.press("Backspace")
            page.keyboard.type("d")
            page.wait_for_selector(GHOST, timeout=PATIENCE_MS)
            page.keyboard.press("Tab")
            page.wait_for_function(
                "() => monaco.editor.getModels()[0].getValue().includes('return iface.render_interface_')"
            )


QUOTES = '''"""Quotes."""

from shop.orders import Order, find_order
from shop import pricing


def quote(orders: list[Order], customer: str) -> float:
    """What a customer has to pay, with ten percent off."""
    order = find_order(orders, customer)
    if order is None:
        return 0.0
    return pricing.'''


@pytest.mark.slow
@pytest.mark.usefixtures("default_model_pulled")
def test_the_picture_of_the_readme(monaco: Path, tmp_path: Path) -> None:
    """Ghost text, verdicts, impacts: ``PICTURES=data/results pytest tests/test_playground.py -k picture``."""
    from tests.conftest import SAMPLE_FILES
    from tests.labelled_repositories import SHOP_FILES, write_repository

    samples = {path: text for path, text in SAMPLE_FILES.items() if path.startswith(("shop/", "web/"))}
    root = write_repository(tmp_path / "shop", SHOP_FILES | samples | {"shop/quotes.py": QUOTES})
    with running(Session(root, {}, {"latencyBudgetMs": 0}), monaco) as server:  # noqa: SIM117
        with browser_at(server, "shop/quotes.py") as page:
            page.wait_for_selector("#status >> text=ready", timeout=PATIENCE_MS)
            page.keyboard.press("Control+End")
            page.keyboard.type("price_with_d", delay=30)
            ghost = page.wait_for_selector(GHOST, timeout=PATIENCE_MS)
            assert ghost.inner_text().startswith("iscount(order.")
            page.click("#measure")
            page.wait_for_selector(".impact", timeout=MEASURING_MS)
            used = page.locator("#chunks li.used").all_inner_texts()
            assert any("which finishes the word being typed" in text for text in used)
            show(page, "playground.png")


def test_what_a_killed_fetch_of_monaco_left_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = cache_path() / "playground" / f"monaco-{SHA256[:12]}"
    leftover = home.with_name(f".{home.name}.0123.tmp")
    leftover.mkdir(parents=True)
    (tmp_path / "wheel").write_bytes(b"")
    monkeypatch.setattr("codefilter.playground.monaco.fetch_wheel", lambda *_: tmp_path / "wheel")
    monkeypatch.setattr("codefilter.playground.monaco.unpack_wheel", lambda wheel, folder: folder.mkdir())
    assert monaco_folder().is_relative_to(home)
    assert list(home.parent.iterdir()) == [home]


def test_nothing_that_is_typed_reaches_the_disk(repository: Path) -> None:
    session = Session(repository, {"model": "fake", "filter": "all"}, {"debounceMs": 0})
    session.start()
    try:
        impacts: dict[str, float] = {}
        while not impacts:  # until the index is there
            text = "typed_in_the_page = 1\nprice = price_with_d"
            answer = session.complete("shop/new.py", text, 1, 20, explicit=True)
            assert answer.explanation is not None
            impacts = session.attribute(answer.explanation["id"])
    finally:
        session.stop()
    assert [path.name for path in (cache_path() / "explanations").glob("*")] == []
    written = [path for path in cache_path().rglob("*") if path.is_file()]
    assert written  # the index is
    assert [path for path in written if b"typed_in_the_page" in path.read_bytes()] == []

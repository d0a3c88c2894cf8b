"""The playground's web server: one page, the editor's files, and the questions that the page asks.

In: HTTP requests from this machine. Out: files and JSON.

Notable: whoever reaches the page can read the repository, so the server listens on the loopback only, every
address begins with a token that is in the printed URL alone, and a request that names another host (a page of
somebody else, whose name was pointed here) is refused. The browser is started with an address that leads
there once, as all users of a machine may see what programs are started with.
"""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

from codefilter.config import whole_number
from codefilter.errors import CodeFilterError
from codefilter.playground.monaco import FILES
from codefilter.playground.session import Session

HOST = "127.0.0.1"
_MAX_BODY_BYTES = 16_000_000
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_OWN = ("index.html", "playground.css", "playground.js")
# Monaco writes styles into the page, carries its font, and reads highlighting rules with WebAssembly.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self' data:",
        "img-src 'self' data:",
        "connect-src 'self' data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)


class Playground(ThreadingHTTPServer):
    """The server of one session."""

    daemon_threads = True

    def __init__(self, session: Session, monaco: Path, port: int = 0) -> None:
        """Port 0: any that is free."""
        self.session = session
        self.monaco = monaco
        self.token = secrets.token_urlsafe(16)
        self._ticket = secrets.token_urlsafe(16)
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    @property
    def url_for_once(self) -> str:
        """An address that leads to the page once."""
        return f"http://{HOST}:{self.server_port}/{self._ticket}"

    def take_ticket(self, ticket: str) -> bool:
        """Whether this is that address, which is used up then."""
        is_it = bool(self._ticket) and secrets.compare_digest(ticket.encode(), self._ticket.encode())
        if is_it:
            self._ticket = ""
        return is_it

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that went away while it was answered is no fault."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Playground
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Files, and questions that change nothing."""
        name = self._checked_name()
        if name is None:
            return
        if name in ("", *_OWN):
            self._send_file(
                name or "index.html",
                (files("codefilter.playground") / "static" / (name or "index.html")).read_bytes(),
            )
        elif name.removeprefix("monaco/") in FILES and name not in FILES:
            file = self.server.monaco / FILES[name.removeprefix("monaco/")]
            self._send_file(file.name, file.read_bytes())
        elif name == "files":
            session = self.server.session
            self._send_json({"repository": session.root.name, "files": session.files})
        elif name == "status":
            self._send_json(self.server.session.status)
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Texts, completions and what becomes of them."""
        name = self._checked_name()
        if name is None:
            return
        num_bytes = whole_number(self.headers.get("Content-Length") or "")
        is_json = self.headers.get_content_type() == "application/json"
        if not is_json or num_bytes is None or not 0 <= num_bytes <= _MAX_BODY_BYTES:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        try:
            body = json.loads(self.rfile.read(num_bytes))
            asked = _QUESTIONS[name]
        except (ValueError, KeyError):
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._answer(lambda: asked(self.server.session, body))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the URL holds the token."""

    def _checked_name(self) -> str | None:
        """What is asked for behind the token, or None where it may not be, which is answered."""
        hosts = (f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}")
        before, _, behind = self.path.partition("?")[0].removeprefix("/").partition("/")
        is_host = self.headers.get("Host") in hosts
        if is_host and secrets.compare_digest(before.encode(), self.server.token.encode()):
            return behind
        if is_host and self.command == "GET" and self.server.take_ticket(before):
            self._redirect(self.server.url)
        else:
            self._refuse(HTTPStatus.NOT_FOUND)
        return None

    def _redirect(self, url: str) -> None:
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", url)
        self.send_header("Content-Length", "0")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def _answer(self, asked: Any) -> None:
        try:
            self._send_json(asked())
        except CodeFilterError as error:
            self._send_json({"error": error.message}, HTTPStatus.BAD_REQUEST)
        except (KeyError, TypeError, ValueError):
            self._refuse(HTTPStatus.BAD_REQUEST)

    def _send_json(self, value: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(value).encode(), "application/json", status)

    def _send_file(self, name: str, content: bytes) -> None:
        self._send(content, _TYPES[Path(name).suffix])

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # what else was sent is not read
        self._send(b"", "text/plain", status)

    def _send(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)


def _complete(session: Session, body: dict[str, Any]) -> dict[str, Any]:
    answer = session.complete(
        str(body["path"]),
        str(body["text"]),
        int(body["line"]),
        int(body["character"]),
        explicit=bool(body.get("explicit")),
    )
    return asdict(answer)


def _accept(session: Session, body: dict[str, Any]) -> dict[str, Any]:
    session.accept(body["command"])
    return {}


def _attribute(session: Session, body: dict[str, Any]) -> dict[str, Any]:
    return {"impacts": session.attribute(str(body["id"]))}


def _open(session: Session, body: dict[str, Any]) -> dict[str, Any]:
    return {"text": session.open(str(body["path"]))}


_QUESTIONS = {"open": _open, "complete": _complete, "accept": _accept, "attribute": _attribute}

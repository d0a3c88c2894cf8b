"""`codefilter-lsp`: start the server on stdio, or on a TCP port.

In: arguments. Out: the protocol on stdout or the socket, logs on stderr; exit code 0 after ``shutdown`` and
``exit``, 1 where the editor left without.

Notable: on stdio, file descriptor 1 is moved away before anything else runs, and what any library prints goes
to stderr: one stray line on stdout would end the conversation.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from json import JSONDecodeError
from pathlib import Path
from typing import BinaryIO

from pygls.exceptions import JsonRpcException

from codefilter import __version__
from codefilter.config import whole_number
from codefilter.paths import cache_path, expanded
from codefilter_lsp import commands, completing
from codefilter_lsp.server import CodeFilterServer


def main() -> int:
    """Serve one editor; returns the exit code."""
    parser = argparse.ArgumentParser(prog="codefilter-lsp", description="CodeFilter as a language server.")
    parser.add_argument(
        "--stdio", action="store_true", help="talk on standard input and output (the default)"
    )
    parser.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        type=_address,
        help="wait for one editor on a TCP port; whoever reaches it can read what you can, so use 127.0.0.1",
    )
    parser.add_argument("--version", action="version", version=f"codefilter-lsp {__version__}")
    arguments = parser.parse_args()
    # At the level INFO pygls logs whole messages, and so people's code; only its server module does not.
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    # It warns of every cancellation that crosses its answer, too.
    logging.getLogger("pygls").setLevel(logging.ERROR)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_without_foreign_tracebacks)

    _leave_the_folder()
    server = make_server()
    try:
        if arguments.tcp:
            server.start_tcp(*arguments.tcp)
        else:
            server.start_io(sys.stdin.buffer, _claim_stdout())
    except SystemExit:
        pass  # pygls's way of obeying `exit`
    finally:
        server.abandon()
    return 0 if server.was_shut_down else 1


def _without_foreign_tracebacks(record: logging.LogRecord) -> bool:
    """What an editor sends wrong is its own fault, and one line says it; only our own faults need more."""
    error = record.exc_info[1] if record.exc_info else None
    message = record.getMessage()
    if message.startswith("Unable to deserialize") or isinstance(error, JsonRpcException | JSONDecodeError):
        record.exc_info = record.exc_text = None
        record.msg, record.args = message.partition("\n")[0], None
    return True


def make_server() -> CodeFilterServer:
    """A server with everything that it offers."""
    server = CodeFilterServer()
    completing.register(server)
    commands.register(server)
    return server


def _leave_the_folder() -> None:
    """Editors start servers in the project's folder; there, a name of a model could mean a folder of it."""
    for variable in ("CODEFILTER_CACHE", "CODEFILTER_MODELS_FROM"):
        if value := os.environ.get(variable):
            os.environ[variable] = str(expanded(value).absolute())
    empty = cache_path() / "empty"
    try:
        empty.mkdir(parents=True, exist_ok=True)
        os.chdir(empty)
    except OSError:
        os.chdir(Path.home().anchor)


def _address(text: str) -> tuple[str, int]:
    host, _, port_text = text.rpartition(":")
    port = whole_number(port_text)
    if not host or port is None or not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, port


def _claim_stdout() -> BinaryIO:
    """The real stdout, for the protocol alone."""
    protocol = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return protocol


if __name__ == "__main__":
    sys.exit(main())

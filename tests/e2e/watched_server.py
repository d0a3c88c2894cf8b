"""`codefilter-lsp` that notes what it asks of the system: ``watched_server.py FILE``.

One line for every program that it starts, every address that it looks for, every file that it opens.
"""

import sys
from pathlib import Path
from typing import Any

_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")


def watch(file: Path) -> None:
    """Note what happens from now on."""
    notes = file.open("a", encoding="utf-8", buffering=1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _PROGRAMS or event in _NETWORK:
            notes.write(f"{event} {arguments!r}\n")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            name = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode(errors="replace")
            notes.write(f"open {Path(name).absolute()}\n")

    sys.addaudithook(hook)


if __name__ == "__main__":
    watch(Path(sys.argv.pop(1)))
    from codefilter_lsp.__main__ import main

    sys.exit(main())

"""A terminal without a window: programs that draw on one are driven by keys, and their screen is read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pyte

from tests.editors.patience import wait_for

COLUMNS, LINES = 120, 40
ENTER = "\r"
TAB = "\t"


class _Screen(pyte.Screen):
    """Answers no questions: pyte stumbles over those that it does not know."""

    def report_device_status(self, *_: object, **__: object) -> None:
        """Say nothing."""


class Terminal:
    """One program, its keyboard and its screen."""

    def __init__(self, command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        self._screen = _Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._file, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **variables}
        self._process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)

    def keys(self, text: str) -> None:
        """Press keys."""
        os.write(self._file, text.encode())

    def escape(self) -> None:
        """Press Escape alone: with the next key at once behind it, it would be that key with Alt."""
        self.keys("\x1b")
        time.sleep(0.3)

    def screen(self) -> str:
        """What is seen now; a program that never stops drawing is not waited for."""
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline and select.select([self._file], [], [], 0.05)[0]:
            try:
                self._stream.feed(os.read(self._file, 65536))
            except OSError:  # the program has ended
                break
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def until(self, *wanted: str, pressing: str = "") -> None:
        """Wait until all of that is seen at once; keys are pressed again now and then."""
        press = partial(self.keys, pressing) if pressing else None
        wait_for(self.screen, lambda seen: all(text in seen for text in wanted), press)

    def close(self) -> None:
        """End the program and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._file)

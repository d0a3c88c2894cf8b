"""Waiting for what an editor shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")

PATIENCE_SECONDS = 120.0
FIRST_PAUSE_SECONDS = 4.0


def wait_for(
    look: Callable[[], Seen], is_wanted: Callable[[Seen], bool], press: Callable[[], None] | None = None
) -> Seen:
    """What is seen at last; keys are pressed again after ever longer pauses.

    A completion that was asked for before the repository is indexed knows nothing of it, until the next key;
    and every key starts a new completion, so that a slow machine needs the longer pauses.
    """
    started = pressed = time.monotonic()
    pause = FIRST_PAUSE_SECONDS
    while not is_wanted(seen := look()):
        now = time.monotonic()
        assert now < started + PATIENCE_SECONDS, f"never there; at last there was:\n{seen}"
        if press is not None and now > pressed + pause:
            press()
            pressed, pause = now, 2 * pause
        time.sleep(0.05)
    return seen

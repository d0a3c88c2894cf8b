"""Work in a child that may be killed (SIGKILL) on its way; for `killed_builds` and `killed_evaluations`.

Notable: children are forked from a process that has imported everything and has no threads, so that many
trials take seconds.
"""

import os
from collections.abc import Callable


def in_child(work: Callable[[], int]) -> tuple[bool, int]:
    """Do the work in a child; (whether it was killed, what the work returned)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(work()).encode())
        os._exit(0)
    os.close(writing)
    returned = os.read(reading, 100)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or status == 0, f"the work failed: {status}"
    return killed, int(returned or b"0")

"""The word that a text ends with, found from its end.

A search from the beginning tries every word at each of its characters: a long run of digits anywhere in a
file costs seconds.
"""

from __future__ import annotations

import re

LETTERS = re.compile(r"[^\W\d_]*")
WORD = re.compile(r"\w*")


def start_of_last(run: re.Pattern[str], text: str) -> int:
    """Where the run that a text ends with begins; the text's length where it ends with none.

    Args:
        run: a class of characters, any number of them: `LETTERS`, `WORD`.
        text: any.
    """
    found = run.match(text[::-1])
    return len(text) - (found.end() if found else 0)

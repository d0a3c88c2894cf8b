"""What of other people's text may reach a terminal: nothing that commands it.

In: a file's name, source text. Out: the same without control characters.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """A text in which control characters, as a file's name may have them, are spaces: for a line."""
    return "".join(character if character.isprintable() else " " for character in text)


def printable_text(text: str) -> str:
    """The same for several lines, as source text has them: line feeds and tabs stay."""
    return "".join(one if one.isprintable() or one in "\n\t" else " " for one in text)

"""What reaches a terminal."""


def printable(text: str) -> str:
    """A text in which control characters, as a file's name may have them, are spaces."""
    return "".join(character if character.isprintable() else " " for character in text)

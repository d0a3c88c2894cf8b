"""The rules in their order, and what each of them changed.

In: a `Place`, the model's text, whether it was stopped before its end. Out: a `Cleaned`, which names the
rules that applied, so that an empty answer has a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codefilter.postprocess.endings import (
    cut_after_block,
    cut_after_line,
    cut_leaked_header,
    cut_overlap,
    cut_repetition,
    cut_what_follows,
    drop_unfinished_line,
)
from codefilter.postprocess.extent import opened_indentation
from codefilter.postprocess.indentation import repair_indentation
from codefilter.postprocess.place import Place

Rule = Callable[[Place, str], str]

UNFINISHED = "unfinished line"
_FEWEST_CHARACTERS = 2  # with fewer, typing is quicker than looking


def trim_end(place: Place, text: str) -> str:
    """White space at the end; before something on the same line, spaces may be meant.

    What closes a block of several lines gets a line of its own.
    """
    if not place.rest.strip():
        return text.rstrip()
    opened = opened_indentation(place)
    is_block = opened is not None and "\n" in text.rstrip()
    return f"{text.rstrip()}\n{opened}" if is_block else text.rstrip("\r\n")


def drop_tiny(place: Place, text: str) -> str:
    """Nothing, white space, a single character."""
    return text if len(text.strip()) >= _FEWEST_CHARACTERS else ""


RULES: dict[str, Rule] = {
    "leaked header": cut_leaked_header,
    "within line": cut_after_line,
    UNFINISHED: drop_unfinished_line,
    "repetition": cut_repetition,
    "indentation": repair_indentation,
    "block end": cut_after_block,
    "next lines": cut_what_follows,
    "overlap": cut_overlap,
    "white space": trim_end,
    "tiny": drop_tiny,
}


@dataclass(frozen=True)
class Cleaned:
    """What is left of a model's text."""

    text: str  # empty: show nothing
    rules: tuple[str, ...]  # names of those that changed something, in order

    @property
    def reason(self) -> str:
        """Why nothing is left, for people; empty where something is."""
        if self.text:
            return ""
        return f"dropped by the rule {self.rules[-1]!r}" if self.rules else "the model wrote nothing"


def clean(place: Place, text: str, *, cut_off: bool = False) -> Cleaned:
    """Apply all rules. `cut_off`: the model was stopped by the limit of length."""
    applied = []
    for name, rule in RULES.items():
        if name == UNFINISHED and not cut_off:
            continue
        cleaned = rule(place, text)
        if cleaned != text:
            applied.append(name)
        text = cleaned
        if not text:
            break
    return Cleaned(text, tuple(applied))


def parsing_first(place: Place, texts: Sequence[str]) -> list[str]:
    """Different candidates, those that leave fewer syntax errors first, equals in the order given."""
    return sorted(dict.fromkeys(text for text in texts if text), key=place.errors)

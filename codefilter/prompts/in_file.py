"""The in-file context: which part of the file around the cursor the model reads.

In: a `CompletionRequest` and token budgets. Out: an `InFileContext`. It is cut before anything is retrieved
and does not depend on it, so prompts with and without chunks hold the same in-file text.
Notable: the prefix begins at an anchor (a line whose number is a multiple of `ANCHOR_LINES`), not at "the
last n tokens". A window that slides with every key would change the prompt's first token on every key, and
nothing computed for the last prompt could be used again. The hole begins at an anchor, too: where it moved
with every line, the suffix would be read again behind each.
"""

from __future__ import annotations

from dataclasses import dataclass

from codefilter.tokenizer import Tokenizer
from codefilter.types import CompletionRequest

ANCHOR_LINES = 16
_MOST_CHARACTERS = 16  # per token, on average: what has more of them is not tokenized to its end
_ALWAYS_CHARACTERS = 4096  # what is no longer is


@dataclass(frozen=True)
class InFileContext:
    """The cut file. ``prefix + typed`` stands before the cursor, `suffix` after it."""

    prefix: str  # whole lines; ends where the current line begins
    typed: str  # what stands in the current line before the cursor
    suffix: str
    start_line: int  # 0-based line of the file at which `prefix` begins
    hole_lines: int = 0  # lines above the cursor's that stand in the hole, as if just written

    def split_at_hole(self) -> tuple[str, str]:
        """What stands above the hole, and what stands in it before the cursor."""
        lines = _lines(self.prefix)
        above = max(len(lines) - self.hole_lines, 0)
        return "".join(lines[:above]), "".join(lines[above:]) + self.typed


def cut_in_file(
    request: CompletionRequest,
    tokenizer: Tokenizer,
    prefix_tokens: int,
    suffix_tokens: int,
    hole_lines: int = 0,
) -> InFileContext:
    """Cut the file around the cursor.

    Args:
        request: the place to complete.
        tokenizer: counts tokens.
        prefix_tokens: before the cursor at most, `typed` among them.
        suffix_tokens: behind the cursor at most.
        hole_lines: the hole begins at the last anchor that is at least so many lines above the cursor's line;
            0: in the cursor's line.
    """
    line_start = request.prefix.rfind("\n") + 1
    typed = _last_tokens(request.prefix[line_start:], tokenizer, prefix_tokens)
    is_whole = (
        len(typed) == len(request.prefix) - line_start
    )  # else lines above it would not be its neighbours
    budget = prefix_tokens - len(tokenizer.encode(typed)) if is_whole else 0
    lines = _lines(request.prefix[:line_start])
    start = _anchored_start(lines, tokenizer, budget)
    prefix = "".join(lines[start:])
    if start == len(lines) and lines:  # not even the lines since the last anchor fit: cut within them
        start = _first_fitting_line(lines, tokenizer, budget)
        prefix = "".join(lines[start:])
    suffix = _first_lines(request.suffix, tokenizer, suffix_tokens)
    return InFileContext(prefix, typed, suffix, start, _lines_in_hole(len(lines), hole_lines))


def _lines_in_hole(line: int, hole_lines: int) -> int:
    """How many lines above a line (0-based) stand in the hole; the file may have fewer in sight."""
    return line - max(line - hole_lines, 0) // ANCHOR_LINES * ANCHOR_LINES if hole_lines else 0


def _lines(text: str) -> list[str]:
    """Lines with their ends, split at line feeds only (`str.splitlines` also splits at form feeds)."""
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _anchored_start(lines: list[str], tokenizer: Tokenizer, budget: int) -> int:
    """First anchor from which all lines fit; ``len(lines)`` where none does."""
    start = len(lines)
    anchor = (len(lines) - 1) // ANCHOR_LINES * ANCHOR_LINES
    while start > 0:
        budget -= _num_tokens("".join(lines[anchor:start]), tokenizer, budget)
        if budget < 0:
            break
        start, anchor = anchor, anchor - ANCHOR_LINES
    return start


def _first_fitting_line(lines: list[str], tokenizer: Tokenizer, budget: int) -> int:
    start = len(lines)
    while start > 0:
        budget -= _num_tokens(lines[start - 1], tokenizer, budget)
        if budget < 0:
            break
        start -= 1
    return start


def _first_lines(text: str, tokenizer: Tokenizer, budget: int) -> str:
    """As many whole lines from the beginning as fit; a part of the first where not even that fits."""
    kept: list[str] = []
    for line in _lines(text):
        beginning = line[: _longest(budget)]
        ids = tokenizer.encode(beginning)
        if len(ids) > budget or len(beginning) < len(line):
            if not kept:
                kept.append(_clean(tokenizer.decode(ids[:budget])))
            break
        budget -= len(ids)
        kept.append(line)
    return "".join(kept)


def _last_tokens(text: str, tokenizer: Tokenizer, budget: int) -> str:
    end = text[-_longest(budget) :]
    ids = tokenizer.encode(end)
    return end if len(ids) <= budget else _clean(tokenizer.decode(ids[len(ids) - budget :]))


def _num_tokens(text: str, tokenizer: Tokenizer, budget: int) -> int:
    """Tokens of a text; of one that is far too long for the budget, so many that it is not kept."""
    return len(tokenizer.encode(text)) if len(text) <= _longest(budget) else budget + 1


def _longest(budget: int) -> int:
    """Characters after which a text is over a budget unseen: lines of megabytes take seconds to tokenize."""
    return max(_MOST_CHARACTERS * budget, _ALWAYS_CHARACTERS)


def _clean(text: str) -> str:
    """Drop the halves of characters that a cut between tokens left at the edges."""
    return text.strip("\ufffd")

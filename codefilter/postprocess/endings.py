"""Where a completion has to end: rules that cut what a model writes beyond what fits.

In: a `Place` and the model's text. Out: the text, or its beginning. Each rule is a function; `cleaning` has
their order. Where a closing bracket or a repeated line may belong to the completion or to what follows, the
grammar decides: the version with fewer syntax errors in the file stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from codefilter.languages import TEXT, language_of
from codefilter.postprocess.extent import Extent, extent_of, opened_indentation
from codefilter.postprocess.place import Place, Token, indentation_of, unmatched_closers, width

_CONTROL_TEXT = re.compile(r"<[|｜]\w|<(fim|file_sep|repo_name)\w*>")
_FENCE = re.compile(r"^\s*```", re.MULTILINE)
_CONTROL_LINE = re.compile(r"^<(/?s|reponame|filename)>", re.MULTILINE)  # further in, they may be code
_PATH_LINE = re.compile(r"(?:#|//|--|\+{5}|path:|<filename>)\s*(\S+\.\w+)", re.IGNORECASE)
_FRAGMENT_LINE = "the below code fragment can be found in"  # what the layout after-suffix writes (Repoformer)
_TELLING_CHARACTERS = 10  # of lines that are taken for a repetition even where the text goes on behind them
_LONGEST_BLOCK = 6  # lines
_RUN_IN_LINE = re.compile(r"(.{4,40}?)\1{3,}")
_CLOSING_RUN = re.compile(r"[)\];,]*")
_INSIDE_WORD = re.compile(r"\B\w")
_MAX_OPTIONS = 6


def cut_leaked_header(place: Place, text: str) -> str:
    """Control tokens in letters, Markdown fences in code, paths that stand above files in a prompt."""
    if found := _CONTROL_TEXT.search(text):
        text = text[: found.start()]
    if place.language != TEXT and (found := _FENCE.search(text)) and place.errors(text):
        text = text[: found.start()]  # in a docstring it would be no error
    typed = len(place.typed)
    if found := _CONTROL_LINE.search(place.typed + text, typed):
        text = text[: found.start() - typed]
    start = 0
    for line in text.split("\n"):
        if (start or not place.typed.strip()) and _is_header(line.strip()):
            return text[:start]
        start += len(line) + 1
    return text


def _is_header(line: str) -> bool:
    path = _PATH_LINE.fullmatch(line)
    return (path is not None and language_of(path[1]) != TEXT) or _FRAGMENT_LINE in line


def cut_after_line(place: Place, text: str) -> str:
    """With something behind the cursor nothing beyond this line fits; between braces a block does."""
    return text.partition("\n")[0] if extent_of(place) is Extent.WITHIN_LINE else text


def drop_unfinished_line(place: Place, text: str) -> str:
    """The last of several lines, where the model was stopped in the middle of it."""
    lines = text.split("\n")
    return "\n".join(lines[:-1]) if sum(bool(line.strip()) for line in lines) > 1 else text


def cut_repetition(place: Place, text: str) -> str:
    """What the model says again and again: parts of a line, lines, blocks; and what stands just above."""
    if (
        (run := _RUN_IN_LINE.search(text))
        and re.search(r"\w{2}", run[1])
        and run[1].startswith(text[run.end() :].rstrip())  # what ends otherwise is a row of equal things
    ):
        text = text[: run.end(1)]
    lines = text.split("\n")
    filled = [i for i, line in enumerate(lines) if line.strip()]
    said = [lines[i].rstrip() for i in filled]
    if said and filled[0] == 0:
        said[0] = (place.typed + lines[0]).rstrip()
    for start in range(len(said)):
        for size in range(1, _LONGEST_BLOCK + 1):
            block = said[start : start + size]
            times = 1
            while said[start + times * size : start + (times + 1) * size] == block:
                times += 1
            if times > 2 - (size > 1) and _is_telling(block):
                return "\n".join(lines[: filled[start + size - 1] + 1])
    above = place.lines_above
    if filled and filled[0] > 0 and place.typed.strip():
        above = [place.typed.rstrip(), *above]
    for size in range(min(_LONGEST_BLOCK, len(said)), 0, -1):
        if said[:size] == above[:size][::-1] and _is_telling(said[:size]):
            return ""
    return text


def cut_after_block(place: Place, text: str) -> str:
    """What follows the block that the cursor is in: at its closing brace, or where the indentation falls."""
    tokens = place.tokens(text)
    for brace in unmatched_closers(tokens):
        if brace.text == "}":
            tail = _CLOSING_RUN.match(text, brace.end)
            assert tail is not None
            text = place.best_of([text[: tail.end()], text[: brace.end], text[: brace.start].rstrip()])
            break
    return _cut_at_dedent(place, text, tokens)


def _cut_at_dedent(place: Place, text: str, tokens: Sequence[Token]) -> str:
    lines = text.split("\n")
    inner = next((line for line in lines if line.strip()), "")
    opened = opened_indentation(place)
    if opened is not None:
        least = width(opened) + 1
    elif place.typed.strip():
        least = width(indentation_of(place.typed))
    else:
        least = width(place.typed + indentation_of(inner) if inner is lines[0] else indentation_of(inner))
    start = len(lines[0]) + 1
    for number, line in enumerate(lines[1:], 1):
        if (
            line.strip()
            and width(indentation_of(line)) < least
            and not _is_inside(tokens, start)
            and line.strip()[0] not in ")]}"
        ):
            return "\n".join(lines[:number])
        start += len(line) + 1
    return text


def _is_inside(tokens: Sequence[Token], offset: int) -> bool:
    """Whether an offset lies in a string, in a comment, or within brackets of the text."""
    depth = 0
    for token in takewhile(lambda token: token.start < offset, tokens):
        if token.end > offset:
            return True
        if token.kind == "mark" and token.start >= 0:
            depth += (token.text[-1] in "([{") - (token.text in (")", "]", "}"))
    return depth > 0


def cut_what_follows(place: Place, text: str) -> str:
    """Lines that stand below the cursor already."""
    below = place.lines_below
    lines = text.split("\n")
    full = [line.rstrip() for line in (place.typed + lines[0], *lines[1:])]
    for start, line in enumerate(full):
        if not line.strip() or not below or line != below[0]:
            continue
        rest = [other for other in full[start:] if other.strip()]
        same = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(rest, below, strict=False))]
        without = "\n".join(lines[:start]).rstrip()
        if _is_telling(same) or (len(same) == len(rest) and place.errors(without) <= place.errors(text)):
            return without
    return text


def cut_overlap(place: Place, text: str) -> str:
    """What the rest of the line has already: its beginning at the end of the text, brackets closed twice."""
    rest = place.rest.strip()
    if not rest or "\n" in text:
        return text
    line, is_apart = place.typed + text, place.rest[0].isspace()
    options = [
        text[: len(text) - size]
        for size in range(min(len(text), len(rest)), 0, -1)
        if rest.startswith(text[len(text) - size :].strip() or "\n")
        and not (is_apart and _INSIDE_WORD.match(line, len(line) - size))  # "floor" before " or" stays
    ]
    options += [text[: loose.start] for loose in unmatched_closers(place.tokens(text)) if loose.text in rest]
    return place.best_of([*options[:_MAX_OPTIONS], text])


def _is_telling(lines: Sequence[str]) -> bool:
    """Whether lines say enough to be called a repetition; braces and ``else:`` do not."""
    return sum(len(re.sub(r"\W", "", line)) for line in lines) >= _TELLING_CHARACTERS

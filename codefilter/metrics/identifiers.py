"""Identifiers as CrossCodeEval counts them: words of the text, not nodes of a syntax tree.

Source: Ding et al., "CrossCodeEval" (arXiv 2310.11248), section 3, and its released ``eval_utils.py``. Quoted
strings are cut out, the rest is split into words, and what begins like a name and is no keyword counts.
Notable: the keywords are as released, with gaps (`keywords.toml`), because complete lists would change
figures.
"""

from __future__ import annotations

import keyword
import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

_STRING = re.compile(r""""[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*'""")
_WORD = re.compile(r"\w+")
_NAME_START = re.compile(r"[_a-zA-Z]")
_NEAREST = {"javascript": "typescript", "tsx": "typescript"}


def identifiers(code: str, language: str) -> list[str]:
    """Names in a text in order of appearance, repetitions included.

    In languages that CrossCodeEval does not have, keywords count too.
    """
    words = _WORD.findall(_STRING.sub("", code))
    return [word for word in words if _NAME_START.match(word) and word not in _keywords(language)]


def identifier_f1(predicted: Sequence[str], target: Sequence[str]) -> float:
    """F1 in percent of two lists of names taken as sets: 2·TP / (2·TP + FP + FN).

    As released, 0 where neither has a name, although the lists are then equal.
    """
    found, wanted = set(predicted), set(target)
    total = len(found) + len(wanted)  # 2·TP + FP + FN
    return 200.0 * len(found & wanted) / total if total else 0.0


@cache
def _keywords(language: str) -> frozenset[str]:
    if language == "python":
        return frozenset(keyword.kwlist) - {"True", "False"}
    lists = tomllib.loads((files("codefilter.metrics") / "keywords.toml").read_text(encoding="utf-8"))
    return frozenset(lists.get(_NEAREST.get(language, language), "").split())

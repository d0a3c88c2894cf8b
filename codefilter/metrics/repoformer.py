"""Repoformer's metrics, with which CODEFILTER's tables are made too.

Source: Wu et al., "Repoformer" (arXiv 2403.10059), and its released ``repo_eval/eval_metric.py``. Line, API
and chunk: the prediction is cut to the target's number of non-blank lines. Function: it is cut to its longest
beginning that parses behind the prompt, and the bodies of the function are compared. EM: the token lists are
equal (`tokenize`). ES: ``fuzz.ratio``, a whole number; besides, 1 − levenshtein / longer length. Both on
texts without white space around them; as released, the latter is 0 where both are empty.

Deviations: the grammar is today's tree-sitter-python; ``fuzz.ratio`` is rapidfuzz's, which is fuzzywuzzy's
with python-Levenshtein installed (without it, fuzzywuzzy falls back to difflib, whose figures differ).
"""

from __future__ import annotations

import re

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from codefilter.metrics.identifiers import identifier_f1, identifiers
from codefilter.metrics.scores import Scores
from codefilter.metrics.syntax import function_bodies, has_error_node
from codefilter.types import CompletionTask, TaskLevel

_SYMBOL = re.compile(r"([^A-Za-z0-9_])")
_CAMEL = re.compile(r"([a-z])([A-Z])")
_QUOTES = str.maketrans("\"'", "``")


def score_repoformer(prediction: str, task: CompletionTask) -> Scores:
    """Exact match and edit similarity by Repoformer's rules; identifiers by CrossCodeEval's."""
    if task.level is TaskLevel.FUNCTION:
        compared, target = _function_bodies(prediction, task)
    else:
        compared, target = _first_lines(prediction, len(_lines(task.target))), task.target
    language = task.request.language
    names, target_names = identifiers(compared, language), identifiers(target, language)
    return Scores(
        exact_match=tokenize(compared) == tokenize(target),
        edit_similarity=fuzzy_ratio(compared, target),
        levenshtein_similarity=levenshtein_similarity(compared, target),
        identifier_exact_match=names == target_names,
        identifier_f1=identifier_f1(names, target_names),
        compared=compared,
    )


def tokenize(code: str) -> list[str]:
    """Words, parts of camelCase words, single symbols; every quote counts as the same symbol."""
    spaced = _CAMEL.sub(r"\1 \2", _SYMBOL.sub(r" \1 ", code))
    return spaced.translate(_QUOTES).split()


def fuzzy_ratio(prediction: str, target: str) -> float:
    """``fuzz.ratio`` of the texts without white space around them, rounded to a whole number as released."""
    return float(round(fuzz.ratio(prediction.strip(), target.strip())))


def levenshtein_similarity(prediction: str, target: str) -> float:
    """100 · (1 − distance / longer length), without white space around the texts; 0 for two empty ones."""
    prediction, target = prediction.strip(), target.strip()
    if not prediction and not target:
        return 0.0
    return 100.0 * Levenshtein.normalized_similarity(prediction, target)


def longest_parsable_prefix(prompt: str, completion: str, language: str) -> str | None:
    """The longest beginning of a completion that parses behind the prompt; None where none does."""
    for end in range(len(completion), -1, -1):
        if not has_error_node(prompt + completion[:end], language):
            return completion[:end].rstrip()
    return None


def _function_bodies(prediction: str, task: CompletionTask) -> tuple[str, str]:
    """The bodies that prediction and target give to the prompt's last function, or the texts themselves."""
    prompt, language = task.request.prefix, task.request.language
    cut = longest_parsable_prefix(prompt, prediction, language)
    if cut is None:
        return prediction, task.target
    indentation = task.target[: len(task.target) - len(task.target.lstrip())]
    begun = function_bodies(f"{prompt}{indentation}pass", language)
    if begun is None:
        return cut, task.target
    compared = _body(prompt + cut, language, len(begun) - 1)
    if compared is None:
        return cut, task.target
    target = _body(prompt + task.target, language, len(begun) - 1)
    return compared, task.target if target is None else target


def _body(text: str, language: str, index: int) -> str | None:
    """Body number `index`, as released the last one for −1; None where there is none."""
    bodies = function_bodies(text, language)
    return bodies[index] if bodies and index < len(bodies) else None


def _first_lines(text: str, count: int) -> str:
    return "\n".join(_lines(text)[:count])


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]

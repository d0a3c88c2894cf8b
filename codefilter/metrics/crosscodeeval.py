"""CrossCodeEval's metrics.

Source: Ding et al., "CrossCodeEval" (arXiv 2310.11248), and its released ``eval_metric.py`` and
``eval_utils.py``. A Python prediction ends at the first line end at which it parses behind the prompt, in
other languages at the first ``;``, ``{`` or ``}``. What looks like a comment is removed from both texts. EM:
the non-blank lines without white space around them are equal. ES: ``fuzz.ratio``, a whole number.
Identifiers: EM of the lists, F1 of the sets.

Kept as released, odd as it is: ``//`` begins a comment in Python too, and ``#`` in every language, in strings
as well; a symbol at the very beginning does not end a prediction; without a place to cut, the prediction
stays whole. Deviations: today's grammars, and ``fuzz.ratio`` of rapidfuzz (see `repoformer`).
"""

from __future__ import annotations

import re

from codefilter.metrics.identifiers import identifier_f1, identifiers
from codefilter.metrics.repoformer import fuzzy_ratio, levenshtein_similarity
from codefilter.metrics.scores import Scores
from codefilter.metrics.syntax import has_error_node
from codefilter.types import CompletionTask

_COMMENT = re.compile(r"#.*|//.*")
_STATEMENT_END = re.compile(r"[;{}]")


def score_crosscodeeval(prediction: str, task: CompletionTask) -> Scores:
    """Exact match, edit similarity and identifier match by CrossCodeEval's rules."""
    language = task.request.language
    compared = _COMMENT.sub("", first_statement(task.request.prefix, prediction, language))
    target = _COMMENT.sub("", task.target)
    names, target_names = identifiers(compared, language), identifiers(target, language)
    return Scores(
        exact_match=_stripped_lines(compared) == _stripped_lines(target),
        edit_similarity=fuzzy_ratio(compared, target),
        levenshtein_similarity=levenshtein_similarity(compared, target),
        identifier_exact_match=names == target_names,
        identifier_f1=identifier_f1(names, target_names),
        compared=compared,
    )


def first_statement(prompt: str, completion: str, language: str) -> str:
    """The beginning of a completion that counts: up to the end of its first statement."""
    if language != "python":
        symbol = _STATEMENT_END.search(completion)
        return completion[: symbol.end()] if symbol and symbol.start() else completion
    end = completion.find("\n", 1)
    while end != -1:
        if not has_error_node(prompt + completion[:end], language):
            return completion[:end].rstrip()
        end = completion.find("\n", end + 1)
    return completion


def _stripped_lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]

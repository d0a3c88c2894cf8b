"""RepoCoder's metrics, the ones RepoEval was published with.

Source: Zhang et al., "RepoCoder" (arXiv 2303.12570), and its released ``compute_score.py`` with ``passk=1``.
Both texts are taken as their non-blank lines without white space around them, and the prediction is cut to as
many lines as the target has. EM: the two lists are equal. ES: 1 − levenshtein(a, b) / max(len(a), len(b)) on
the lines joined by line feeds. As released, lines also end at form feeds and the like (``str.splitlines``).

Deviation: where neither text has a line, the released script divides by zero; here ES is 100.
"""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from codefilter.metrics.identifiers import identifier_f1, identifiers
from codefilter.metrics.scores import Scores
from codefilter.types import CompletionTask


def score_repocoder(prediction: str, task: CompletionTask) -> Scores:
    """Exact match and edit similarity by RepoCoder's rules; identifiers by CrossCodeEval's."""
    target_lines = _stripped_lines(task.target)
    lines = _stripped_lines(prediction)[: len(target_lines)]
    target, compared = "\n".join(target_lines), "\n".join(lines)
    similarity = 100.0 * Levenshtein.normalized_similarity(compared, target)
    language = task.request.language
    names, target_names = identifiers(compared, language), identifiers(target, language)
    return Scores(
        exact_match=lines == target_lines,
        edit_similarity=similarity,
        levenshtein_similarity=similarity,
        identifier_exact_match=names == target_names,
        identifier_f1=identifier_f1(names, target_names),
        compared=compared,
    )


def _stripped_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]

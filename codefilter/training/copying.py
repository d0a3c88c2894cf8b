"""Copy gains: how much easier a chunk makes the truth to copy. Labels that need no language model.

In: the in-file text, the truth, a chunk. Out: nats per token that a copy model (word n-grams of the prompt,
interpolated as by Witten and Bell, 1991) gains when the chunk is added to what it may copy from.
Notable: a filter is first trained on thousands of these, which cost milliseconds, then on the impacts that a
language model gives, of which there are hundreds. Within a task copy gains order chunks nearly as impacts do
(`data/results/LOG.md`).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from codefilter.filters.features.views import names_of, tokens_of
from codefilter.words import WORD, start_of_last

_BEGUN = re.compile(r"[^\W\d]\w*")
_ORDER = 4  # words of context
_VOCABULARY = 5000  # words that could stand anywhere: what an unknown one costs
_NAME_NATS = 0.3  # of a name of the truth that only the chunk has, over the truth's length: see `copy_gains`

Context = tuple[str, ...]


class CopyModel:
    """How often each word followed each run of up to four words."""

    def __init__(self, *texts: str) -> None:
        self._followers: dict[Context, Counter[str]] = defaultdict(Counter)
        for text in texts:
            words = tokens_of(text)
            for position, word in enumerate(words):
                for order in range(min(_ORDER, position) + 1):
                    self._followers[tuple(words[position - order : position])][word] += 1

    def followers(self, context: Context) -> Counter[str]:
        """What followed a run of words, and how often."""
        return self._followers.get(context, Counter())


def log_likelihood(sources: Sequence[CopyModel], before: str, target: str) -> float:
    """Mean log-probability of the target's words, in nats; 0 for a target without words."""
    context = tokens_of(before[-400:])[-_ORDER:]
    words = tokens_of(target)
    total = 0.0
    for word in words:
        total += math.log(_probability(sources, context, word))
        context = [*context, word][-_ORDER:]
    return total / len(words) if words else 0.0


def _probability(sources: Sequence[CopyModel], context: Sequence[str], word: str) -> float:
    probability = 1 / _VOCABULARY
    for order in range(len(context) + 1):
        key = tuple(context[len(context) - order :])
        found = [counts for source in sources if (counts := source.followers(key))]
        if found:
            seen = sum(counts.total() for counts in found)
            kinds = len(set().union(*found))
            hits = sum(counts[word] for counts in found)
            probability = (hits + kinds * probability) / (seen + kinds)
    return probability


def copy_gains(before: str, after: str, target: str, chunks: Sequence[str]) -> list[float]:
    """What each chunk gains, in nats per word of the target.

    To the copy model's gain comes a fixed one for every name of the target that the chunk has and the file
    does not: a language model uses a name wherever it saw it, an n-gram only in the same words.
    """
    begun = _BEGUN.search(before, start_of_last(WORD, before))
    if begun and target[:1].isidentifier():  # the word counts as a whole, as it stands in chunks
        before, target = before[: begun.start()], begun.group() + target
    in_file = CopyModel(before, after)
    alone = log_likelihood([in_file], before, target)
    new_names = names_of(target) - names_of(f"{before}\n{after}")
    gains = []
    for chunk in chunks:
        gain = log_likelihood([in_file, CopyModel(chunk)], before, target) - alone
        gains.append(gain + _NAME_NATS * len(new_names & names_of(chunk)))
    return gains

"""Drafts for free: code repeats what stands in the prompt (prompt-lookup decoding, a form of speculation).

In: the prompt, what is written so far, and the last outputs: who did not take a suggestion but typed on often
wants the rest of it. Out: tokens that followed the last earlier occurrence of the last few tokens. The model
checks a whole draft in one pass, which costs little more than one token, and what it would not have written
itself is thrown away: greedy output is the same with and without drafts, unless two tokens are as likely as
each other within an engine's rounding, which may depend on how many it reads at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NGRAM_LENGTHS = (4, 3, 2)  # longest match first
MAX_DRAFT_TOKENS = 8
MAX_OUTPUTS = 4  # that are remembered
FIRST_DRAFT_TOKENS = 2


class NgramIndex:
    """Where every n-gram of a growing token sequence last ended."""

    def __init__(self, token_ids: Sequence[int], outputs: Iterable[Sequence[int]] = ()) -> None:
        """Index a prompt; drafts are taken from earlier outputs, too, oldest first, and rather from those."""
        self._ids: list[int] = []
        self._end_of: dict[tuple[int, ...], int] = {}
        self._rest_of: dict[tuple[int, ...], list[int]] = {}
        for output in outputs:
            for end in range(1, len(output)):
                for length in range(1, min(end, NGRAM_LENGTHS[0]) + 1):
                    rest = list(output[end : end + MAX_DRAFT_TOKENS])
                    self._rest_of[tuple(output[end - length : end])] = rest
        self.extend(token_ids)

    def extend(self, token_ids: Sequence[int]) -> None:
        """Append tokens. The n-grams that end the sequence are entered only when something follows them."""
        for token_id in token_ids:
            end = len(self._ids)
            for length in NGRAM_LENGTHS:
                if end >= length:
                    self._end_of[tuple(self._ids[end - length :])] = end
            self._ids.append(token_id)

    def draft(self, limit: int) -> list[int]:
        """At most `limit` tokens that may follow; empty where the end of the sequence is new."""
        for length in NGRAM_LENGTHS:
            last = tuple(self._ids[-length:])
            if (rest := self._rest_of.get(last)) is not None:
                return rest[:limit]
            if (end := self._end_of.get(last)) is not None:
                return self._ids[end : end + limit]
        return self._rest_of.get(tuple(self._ids[-1:]), [])[:limit]


def next_draft_tokens(limit: int, drafted: int, confirmed: int) -> int:
    """How long the next draft may be: twice as long after one that was right, else what was right of it.

    A row more costs little where the model waits for memory, and as much as half a token where 8-bit products
    wait for the processor; so a draft has to earn its length.
    """
    if drafted == 0:
        return limit
    return min(2 * limit, MAX_DRAFT_TOKENS) if confirmed == drafted else max(confirmed, 1)

"""Text → terms: the words that the index counts and queries look for.

In: any text. Out: lower-cased terms. A term is an identifier, or a part of one: `parseHTTPHeader_v2` gives
`parsehttpheader_v2`, `parse`, `http`, `header`, so that names match both as a whole and by what they are
made of. Parts of one character say nothing and are left out; so are numbers, and "words" too long to be
names (encoded data). There is no stop list: inverse document frequency already weighs `self` and `return`
down, the reference implementation stays comparable, and the index is fast enough with them.
"""

from __future__ import annotations

import re
from collections import Counter

MAX_WORD_CHARACTERS = 80
_CACHED_WORDS = 50_000

_WORD = re.compile(r"\w+")
# An upper-case run not followed by lower case (HTTP), a capitalised or lower-case run (Header), digits.
# Letters outside ASCII count as lower case.
_PART = re.compile(r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+")


def _split(word: str) -> tuple[str, ...]:
    """The terms of one word, the whole identifier first."""
    if word[0].isdecimal() or len(word) > MAX_WORD_CHARACTERS:
        return ()
    parts = _PART.findall(word)
    if len(parts) <= 1:
        return tuple(part.lower() for part in parts)
    return (word.strip("_").lower(), *(part.lower() for part in parts if len(part) > 1))


class _TermsOfWords(dict[str, tuple[str, ...]]):
    """Remembers `_split`; emptied when full, so that its memory is bounded."""

    def __missing__(self, word: str) -> tuple[str, ...]:
        if len(self) >= _CACHED_WORDS:
            self.clear()
        self[word] = found = _split(word)
        return found


_TERMS_OF = _TermsOfWords()


def terms(text: str) -> list[str]:
    """All terms of a text, in order, repeated as often as they occur."""
    return [term for word in _WORD.findall(text) for term in _TERMS_OF[word]]


def count_terms(text: str) -> dict[str, int]:
    """How often each term occurs: `Counter(terms(text))`, but every distinct word is split only once."""
    counts: dict[str, int] = {}
    for word, occurrences in Counter(_WORD.findall(text)).items():
        for term in _TERMS_OF[word]:
            counts[term] = counts.get(term, 0) + occurrences
    return counts

"""Answers that need no model: asked before, or typed along.

In: the text around a cursor. Out: texts that were suggested there, or what is left of a suggestion of which a
part has been typed since. An entry counts as long as the settings and the texts of all other files are the
same: prefix, suffix and context are the key.

Notable: of prefix and suffix, which together are the whole document, only lengths and digests are kept.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from codefilter.postprocess import Place, clean
from codefilter.types import CompletionRequest

_CAPACITY = 128
_RECENT = 32  # entries that may be typed along
_AUTO_CLOSED = (")", "]", "}", '"', "'", "`", "})", "])", "))")  # what editors put behind the cursor

T = TypeVar("T")
_Key: TypeAlias = "tuple[Hashable, str, _Text, _Text]"  # context, path, prefix, suffix


@dataclass(frozen=True)
class Remembered(Generic[T]):
    """An answer that serves a request."""

    texts: tuple[str, ...]
    origin: T  # what the texts came from
    typed: int  # characters of it that have been typed since


@dataclass(frozen=True)
class _Text:
    """A text that can be recognised."""

    length: int
    digest: bytes

    @classmethod
    def of(cls, text: str) -> _Text:
        """What is kept of a text."""
        encoded = text.encode("utf-8", "surrogatepass")
        return cls(len(text), hashlib.blake2b(encoded, digest_size=16).digest())


@dataclass(frozen=True)
class _Entry(Generic[T]):
    prefix: _Text
    suffix: _Text
    texts: tuple[str, ...]
    origin: T


class Reuse(Generic[T]):
    """The answers of one editor, newest last."""

    def __init__(self) -> None:
        self._entries: OrderedDict[_Key, _Entry[T]] = OrderedDict()

    def put(self, context: Hashable, request: CompletionRequest, texts: tuple[str, ...], origin: T) -> None:
        """Keep an answer."""
        key = _key(context, request)
        self._entries[key] = _Entry(*key[2:], texts, origin)
        self._entries.move_to_end(key)
        if len(self._entries) > _CAPACITY:
            self._entries.popitem(last=False)

    def get(self, context: Hashable, request: CompletionRequest) -> Remembered[T] | None:
        """An answer for this place, if there is one."""
        key = _key(context, request)
        if (entry := self._entries.get(key)) is not None:
            self._entries.move_to_end(key)
            return Remembered(entry.texts, entry.origin, 0)
        for entry in self._recent(context, request.path):
            if (texts := _typed_along(entry, request, key)) is not None:
                return Remembered(texts, entry.origin, len(request.prefix) - entry.prefix.length)
        return None

    def _recent(self, context: Hashable, path: str) -> Iterator[_Entry[T]]:
        for number, key in enumerate(reversed(self._entries)):
            if number >= _RECENT:
                return
            if key[:2] == (context, path):
                yield self._entries[key]


def _key(context: Hashable, request: CompletionRequest) -> _Key:
    return context, request.path, _Text.of(request.prefix), _Text.of(request.suffix)


def _typed_along(entry: _Entry[T], request: CompletionRequest, key: _Key) -> tuple[str, ...] | None:
    """What is left of an entry's texts behind what was typed; None where something else was typed."""
    start = entry.prefix.length
    typed = request.prefix[start:]
    left = [text[len(typed) :] for text in entry.texts if text.startswith(typed) and text != typed]
    if not typed or not left or _Text.of(request.prefix[:start]) != entry.prefix:
        return None
    if key[3] != entry.suffix:
        closed = request.suffix[: max(0, len(request.suffix) - entry.suffix.length)]
        if closed not in _AUTO_CLOSED or _Text.of(request.suffix[len(closed) :]) != entry.suffix:
            return None
        place = Place.of(request)
        left = [text for text in (clean(place, text).text for text in left) if text]
    return tuple(left) or None

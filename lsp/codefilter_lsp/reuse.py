"""Answers that need no model: asked before, or typed along.

In: the text around a cursor. Out: texts that were suggested there, or what is left of a suggestion of which a
part has been typed since. An entry counts as long as the settings and the texts of all other files are the
same: prefix, suffix and context are the key.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from codefilter.postprocess import Place, clean
from codefilter.types import CompletionRequest

_CAPACITY = 512
_RECENT = 32  # entries that may be typed along
_AUTO_CLOSED = (")", "]", "}", '"', "'", "`", "})", "])", "))")  # what editors put behind the cursor

T = TypeVar("T")


@dataclass(frozen=True)
class Remembered(Generic[T]):
    """An answer that serves a request."""

    texts: tuple[str, ...]
    origin: T  # what the texts came from
    typed: int  # characters of it that have been typed since


@dataclass(frozen=True)
class _Entry(Generic[T]):
    prefix: str
    suffix: str
    texts: tuple[str, ...]
    origin: T


class Reuse(Generic[T]):
    """The answers of one editor, newest last."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, _Entry[T]] = OrderedDict()

    def put(self, context: Hashable, request: CompletionRequest, texts: tuple[str, ...], origin: T) -> None:
        """Keep an answer."""
        key = (context, request.path, request.prefix, request.suffix)
        self._entries[key] = _Entry(request.prefix, request.suffix, texts, origin)
        self._entries.move_to_end(key)
        if len(self._entries) > _CAPACITY:
            self._entries.popitem(last=False)

    def get(self, context: Hashable, request: CompletionRequest) -> Remembered[T] | None:
        """An answer for this place, if there is one."""
        key = (context, request.path, request.prefix, request.suffix)
        if (entry := self._entries.get(key)) is not None:
            self._entries.move_to_end(key)
            return Remembered(entry.texts, entry.origin, 0)
        for entry in self._recent(context, request.path):
            if (texts := _typed_along(entry, request)) is not None:
                return Remembered(texts, entry.origin, len(request.prefix) - len(entry.prefix))
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def _recent(self, context: Hashable, path: str) -> Iterator[_Entry[T]]:
        for number, key in enumerate(reversed(self._entries)):
            if number >= _RECENT:
                return
            if key[:2] == (context, path):  # type: ignore[index]  # keys are the tuples above
                yield self._entries[key]


def _typed_along(entry: _Entry[T], request: CompletionRequest) -> tuple[str, ...] | None:
    """What is left of an entry's texts behind what was typed; None where something else was typed."""
    typed = request.prefix[len(entry.prefix) :]
    if not typed or not request.prefix.startswith(entry.prefix):
        return None
    left = [text[len(typed) :] for text in entry.texts if text.startswith(typed) and text != typed]
    if request.suffix != entry.suffix:
        closed = request.suffix[: len(request.suffix) - len(entry.suffix)]
        if closed not in _AUTO_CLOSED or not request.suffix.endswith(entry.suffix):
            return None
        place = Place.of(request)
        left = [text for text in (clean(place, text).text for text in left) if text]
    return tuple(left) or None

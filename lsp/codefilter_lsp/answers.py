"""The last answers, by id: what acceptance, feedback and explanations refer to.

In: requests and what came of them. Out: `Answer`s.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from codefilter.types import CompletionRequest
from codefilter_lsp.suggesting import Suggestions

_CAPACITY = 64
_MOST_CHARACTERS = 4_000_000  # of documents: every answer holds the text that it was asked for


class Source(StrEnum):
    """Where an answer comes from."""

    MODEL = "model"
    ASKED_BEFORE = "asked before"
    TYPED_ALONG = "typed along"
    NOBODY = "nobody"  # it holds no text, and `reason` says why


@dataclass(frozen=True)
class Origin:
    """A model's answer, as what may be suggested again: without the document that it was asked for."""

    answer_id: str
    reason: str
    suggestions: Suggestions | None

    @property
    def is_shortened(self) -> bool:
        """Whether chunks were left out to answer in time."""
        return self.suggestions is not None and self.suggestions.is_shortened


@dataclass(frozen=True)
class Answer:
    """One request and what came of it."""

    uri: str
    offset: int  # of the cursor in the document, in code points
    request: CompletionRequest
    kind: str
    texts: tuple[str, ...] = ()  # best first
    source: Source = Source.MODEL
    reason: str = ""  # why there is no text
    suggestions: Suggestions | None = None
    is_indexed: bool = True  # other files of the folder were there to be searched, or there are none
    seconds: float = 0.0
    answer_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    asked_id: str = ""  # of the model's answer that this one is the rest of

    @property
    def place(self) -> str:
        """File and 1-based line, for people."""
        prefix = self.request.prefix
        return f"{self.request.path}:{prefix.count(chr(10)) + 1}"

    @property
    def origin_id(self) -> str:
        """Id of the model's answer that the texts come from."""
        return self.asked_id or self.answer_id

    @property
    def origin(self) -> Origin:
        """The model's answer that the texts come from."""
        return Origin(self.origin_id, self.reason, self.suggestions)

    @property
    def summary(self) -> str:
        """What people ask for when they see nothing, or something odd."""
        said = [f"{len(self.texts[0])} characters" if self.texts else f"nothing: {self.reason}"]
        if self.source in (Source.ASKED_BEFORE, Source.TYPED_ALONG):
            said.append(self.source.value)
        if self.suggestions is not None:
            completion, cleaned = self.suggestions.completion, self.suggestions.cleaned
            retrieved, used = len(completion.decisions), len(completion.prompt.chunk_ids)
            late = len(self.suggestions.late_chunk_ids)
            said.append(
                f"{retrieved} retrieved, {retrieved - used} dropped"
                + (f" ({late} to answer in time)" if late else "")
            )
            said += ["the folder is still being indexed"] * (not self.is_indexed)
            said += [f"cleaned: {', '.join(cleaned.rules)}"] * bool(cleaned.rules)
            said += completion.notices
        return "; ".join(said)

    def reusing(self, origin: Origin, texts: tuple[str, ...], source: Source) -> Answer:
        """This answer with texts of an earlier one."""
        return replace(
            self,
            texts=texts,
            source=source,
            reason=origin.reason,
            suggestions=origin.suggestions,
            asked_id=origin.answer_id,
        )


class Answers:
    """The last answers of one editor."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, Answer] = OrderedDict()
        self._impacts: dict[str, Mapping[str, float]] = {}
        self._num_characters = 0

    @property
    def last(self) -> Answer | None:
        """The newest answer."""
        return next(reversed(self._by_id.values()), None)

    def add(self, answer: Answer) -> None:
        """Keep an answer, and forget the oldest."""
        self._by_id[answer.answer_id] = answer
        self._num_characters += _num_characters(answer)
        while len(self._by_id) > _CAPACITY or (
            len(self._by_id) > 1 and self._num_characters > _MOST_CHARACTERS
        ):
            _, oldest = self._by_id.popitem(last=False)
            self._num_characters -= _num_characters(oldest)
            self._impacts.pop(oldest.answer_id, None)

    def get(self, answer_id: str) -> Answer | None:
        """An answer that is still known."""
        return self._by_id.get(answer_id)

    def was_measured(self, answer: Answer, impacts: Mapping[str, float]) -> None:
        """Keep what each chunk did for an answer, by chunk id."""
        if answer.answer_id in self._by_id:
            self._impacts[answer.answer_id] = impacts

    def impacts_of(self, answer: Answer) -> Mapping[str, float]:
        """What each chunk did for an answer, by chunk id; empty until it was measured."""
        return self._impacts.get(answer.answer_id, {})


def _num_characters(answer: Answer) -> int:
    return len(answer.request.prefix) + len(answer.request.suffix)

"""Completion requests while somebody types: what the model has read is kept from one pause to the next.

In: a loaded model, function bodies to type, filters by name, a llama-server where there is one. Out: a
`RequestTiming` per filter. Recorded typing: the true text key by key, with a request at every pause; requests
between keys are superseded and reach no model. As in the server, a suggestion that is being typed along
answers without the model and is not counted, the last prompt's chunks stay while the best are among them, and
what cannot be read in time is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from codefilter.budget import Planner, ReadingCost
from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.lm.base import LanguageModel
from codefilter.speed.requests import RequestTiming, TimedRequest, answer, warm_up
from codefilter.speed.servers import LlamaServerBaseline
from codefilter.types import CompletionRequest, CompletionTask

TYPED_LINES = 3
_LONG_WORD = 6  # characters; within such a word there is a pause after the third
READING_BUDGET_SECONDS = 1.5  # the server's default

_WORD = re.compile(r"\w+|\n[ \t]*")


def pauses(text: str) -> list[int]:
    """Offsets at which who types a text stops for a moment: behind words, within long ones, on new lines."""
    offsets = {0}
    for match in _WORD.finditer(text):
        offsets.add(match.end())
        if match.end() - match.start() >= _LONG_WORD and not match[0].isspace():
            offsets.add(match.start() + 3)
    return sorted(offset for offset in offsets if offset < len(text))


def measure_typing(
    model: LanguageModel,
    places: Sequence[tuple[CompletionTask, Callable[[str], Completer]]],
    filters: Sequence[str],
    server: LlamaServerBaseline | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[RequestTiming]:
    """Type the first lines of every task's truth with every filter; see `measure_cold` for the arguments.

    The first request of every place, which finds nothing read, is not counted.
    """
    warm_up(model, server)
    rows = []
    for name in filters:
        timed: list[TimedRequest] = []
        hits = 0
        for number, (task, completer_with) in enumerate(places):
            progress(f"{name} {number + 1}/{len(places)} {task.task_id}")
            model.forget()
            typist = _Typist(model, completer_with(name), server)
            request = replace(
                task.request, max_new_tokens=Settings.max_new_tokens, max_lines=Settings.max_lines
            )
            _, *warm = typist.type(request, _first_lines(task.target))
            timed += warm
            hits += typist.hits
        if timed:
            rows.append(RequestTiming.of("typing", name, timed, hits=hits))
    return rows


@dataclass
class _Typist:
    """Somebody who types in one file."""

    model: LanguageModel
    completer: Completer
    server: LlamaServerBaseline | None
    hits: int = 0

    def type(self, request: CompletionRequest, text: str) -> Iterator[TimedRequest]:
        """Type a text at a place; a request at every pause that no earlier suggestion answers."""
        cost = ReadingCost(self.model)
        planner = Planner(self.completer, cost)
        suggestions: list[tuple[int, str]] = []
        for offset in pauses(text):
            if any(_is_typed_along(text[start:offset], shown) for start, shown in suggestions):
                self.hits += 1
                continue
            here = replace(request, prefix=request.prefix + text[:offset])
            prepared = planner.plan(here, READING_BUDGET_SECONDS).prepared
            timed = answer(self.model, here, prepared, self.server, reuse=True)
            cost.was_read(timed.prompt_tokens - timed.reused_tokens, timed.read_seconds)
            suggestions.append((offset, timed.text))
            yield timed


def _is_typed_along(typed: str, shown: str) -> bool:
    """Whether a suggestion still shows something after this was typed since."""
    return shown.startswith(typed) and shown != typed


def _first_lines(text: str) -> str:
    return "\n".join(text.split("\n")[:TYPED_LINES])

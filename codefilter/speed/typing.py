"""Completion requests while somebody types: what the model has read is kept from one pause to the next.

In: a loaded model, function bodies to type, filters by name, a llama-server where there is one. Out: a
`RequestTiming` per filter. Recorded typing: the true text key by key, with a request at every pause; requests
between keys are superseded and reach no model. As in the server, a suggestion that is being typed along
answers without the model and is not counted, and the last prompt's chunks stay while the best are among them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from codefilter.completion import Completer, PreparedPrompt
from codefilter.config import Settings
from codefilter.lm.base import LanguageModel
from codefilter.speed.requests import RequestTiming, TimedRequest, answer, forget, warm_up
from codefilter.speed.servers import LlamaServerBaseline
from codefilter.types import CompletionRequest, CompletionTask

TYPED_LINES = 3
_LONG_WORD = 6  # characters; within such a word there is a pause after the third
_STICKY_RANKS = 3  # codefilter_lsp.budget

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
            forget(model)
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
    _last: PreparedPrompt | None = None

    def type(self, request: CompletionRequest, text: str) -> Iterator[TimedRequest]:
        """Type a text at a place; a request at every pause that no earlier suggestion answers."""
        suggestions: list[tuple[int, str]] = []
        for offset in pauses(text):
            if any(_is_typed_along(text[start:offset], shown) for start, shown in suggestions):
                self.hits += 1
                continue
            here = replace(request, prefix=request.prefix + text[:offset])
            timed = answer(self.model, here, self._prepare(here), self.server, reuse=True)
            suggestions.append((offset, timed.text))
            yield timed

    def _prepare(self, request: CompletionRequest) -> PreparedPrompt:
        prepared, last = self.completer.prepare(request), self._last
        if last is not None and last.in_file.start_line == prepared.in_file.start_line:
            kept = sorted((d.candidate for d in prepared.decisions if d.keep), key=lambda c: c.rank)
            best = {candidate.chunk.chunk_id for candidate in kept[:_STICKY_RANKS]}
            if kept and best <= set(last.prompt.chunk_ids):
                prompt = self.completer.build_prompt(request, prepared.in_file, last.decisions)
                prepared = replace(prepared, decisions=last.decisions, prompt=prompt)
        self._last = prepared
        return prepared


def _is_typed_along(typed: str, shown: str) -> bool:
    """Whether a suggestion still shows something after this was typed since."""
    return shown.startswith(typed) and shown != typed


def _first_lines(text: str) -> str:
    return "\n".join(text.split("\n")[:TYPED_LINES])

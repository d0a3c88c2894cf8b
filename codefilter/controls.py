"""Control chunks: code of other repositories, as long as a retrieved chunk, that cannot help on purpose.

In: the source files of several repositories, a task, the lengths of its candidates in tokens. Out:
`ControlChunk`s. Any text added to a prompt changes the likelihood of what follows; what a chunk of an
unrelated repository does is the noise that an impact has to rise above.
Notable: lengths are matched by the choice of lines (a control begins where a chunk begins and takes as many
lines as come nearest), never by cutting a line; and the choice depends on seed and task alone, so that a
build that was interrupted draws the same controls again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from codefilter.chunking import chunk_file
from codefilter.errors import UsageError
from codefilter.tokenizer import Tokenizer
from codefilter.types import Chunk, CompletionTask, SourceFile

_ATTEMPTS = 20  # places to try for one control; the nearest in length is taken
_CLOSE_ENOUGH = 0.05  # of the wanted length


class FewControlsError(UsageError):
    """Other repositories do not give as many controls as are wanted; more repositories may."""


@dataclass(frozen=True)
class ControlChunk:
    """A chunk that no retriever would have found."""

    repository: str
    version: str
    chunk: Chunk
    tokens: int  # of its text


@dataclass(frozen=True)
class ControlRepository:
    """What controls may be taken from."""

    name: str
    version: str
    sources: tuple[SourceFile, ...]

    @cached_property
    def by_language(self) -> dict[str, list[SourceFile]]:
        """Files with something in them, in path order."""
        files: dict[str, list[SourceFile]] = {}
        for source in sorted(self.sources, key=lambda source: source.path):
            if source.text.strip():
                files.setdefault(source.language, []).append(source)
        return files


def usable_repositories(
    repositories: Mapping[str, ControlRepository], task: CompletionTask
) -> list[ControlRepository]:
    """What controls of a task may come from: other repositories, with files in its language; by name."""
    others = (repository for name, repository in sorted(repositories.items()) if name != task.repository)
    return [repository for repository in others if task.request.language in repository.by_language]


def draw_controls(
    repositories: Mapping[str, ControlRepository],
    task: CompletionTask,
    lengths_tokens: Sequence[int],
    tokenizer: Tokenizer,
    seed: int,
) -> list[ControlChunk]:
    """One control per wanted length, of the task's language and of other repositories than the task's.

    Raises:
        FewControlsError: no other repository has a file in the language, or they have too few chunks.
    """
    others = usable_repositories(repositories, task)
    if not others:
        raise FewControlsError(
            f"no other repository has {task.request.language} files for controls of {task.repository}",
            hint="Build from two repositories or more.",
        )
    controls: list[ControlChunk] = []
    for number, length in enumerate(lengths_tokens):
        places = random.Random(f"{seed}:{task.task_id}:control:{number}")
        taken = {control.chunk.chunk_id for control in controls}
        drawn = _candidates(others, task.request.language, length, tokenizer, places)
        best: ControlChunk | None = None
        for control in drawn:
            if control.chunk.chunk_id in taken:
                continue
            if best is None or abs(control.tokens - length) < abs(best.tokens - length):
                best = control
            if abs(best.tokens - length) <= _CLOSE_ENOUGH * length:
                break
        if best is None:
            raise FewControlsError(
                f"only {number} of {len(lengths_tokens)} controls were found for {task.task_id}",
                hint="Build from more repositories, or larger ones.",
            )
        controls.append(best)
    return controls


def _candidates(
    others: Sequence[ControlRepository],
    language: str,
    length_tokens: int,
    tokenizer: Tokenizer,
    places: random.Random,
) -> Iterator[ControlChunk]:
    for _ in range(_ATTEMPTS):
        repository = places.choice(others)
        source = places.choice(repository.by_language[language])
        starts = [chunk.start_line for chunk in chunk_file(source).chunks]
        start = places.choice(starts)
        chunk, tokens = _grow(source, start, length_tokens, tokenizer)
        yield ControlChunk(repository.name, repository.version, chunk, tokens)


def _grow(source: SourceFile, start: int, length_tokens: int, tokenizer: Tokenizer) -> tuple[Chunk, int]:
    """The run of whole lines from `start` that comes nearest to a length; it ends with a filled line."""
    lines = source.text.split("\n")
    best: tuple[str, int, int] | None = None  # text, end line, tokens
    for end in range(start + 1, len(lines) + 1):
        if not lines[end - 1].strip():
            continue
        text = "\n".join(lines[start:end])
        tokens = len(tokenizer.encode(text))
        if best is None or abs(tokens - length_tokens) < abs(best[2] - length_tokens):
            best = (text, end, tokens)
        if tokens >= length_tokens:
            break
    if best is None:
        raise ValueError(f"line {start} of {source.path} is not the start of a chunk")
    text, end, tokens = best
    return Chunk(source.path, text, start, end, source.language), tokens

"""Labels → token sequences for a model that learns to judge chunks, and which of their tokens it learns.

In: a dataset of impact labels and the repositories that it names. Out: `ReadingTask`s, texts as the filter
reads them, and from each a `TrainingSequence`: between the chunks stands what the filter should have said,
at the end the completion. Control tokens and completion are learned, contexts are only read (CODEFILTER,
arXiv 2508.05970, section 4).
Notable: which chunks stand before <EC> is our choice. All of them, to learn from every label: behind the last
positive one it is to say <EC>, and reads on anyway. Or up to the last positive one, as it will be used: then
what tasks without one teach is lost, and too many of the chunks that are left are positive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from random import Random

import numpy as np

from codefilter.dataset.description import require_description
from codefilter.dataset.materialize import Materializer, TextExample
from codefilter.dataset.storage import read_examples
from codefilter.filters.control_tokens import ControlTokens
from codefilter.filters.generative_reading import ReadingShape, ReadingText, reading_text
from codefilter.tokenizer import Tokenizer
from codefilter.training.examples import TrainingTask, Values
from codefilter.types import Polarity


class Part(IntEnum):
    """What a token of a sequence is."""

    CONTROL = 0
    TARGET = 1  # the completion
    CONTEXT = 2  # read, not learned


@dataclass(frozen=True)
class ReadingTask:
    """One labelled task, as the filter reads it."""

    labels: TrainingTask  # of the chunks of `text`; without features
    text: ReadingText
    polarities: tuple[Polarity, ...]  # of the chunks
    scores: Values  # (chunks,), the retriever's
    target: tuple[int, ...]  # the completion's first tokens


@dataclass(frozen=True)
class TrainingSequence:
    """Token ids, and what each is."""

    token_ids: tuple[int, ...]
    answers: tuple[int, ...]  # what is to be said in each place: another token only where it reads on anyway
    parts: tuple[Part, ...]


def reading_tasks(
    labels: Path,
    roots: Mapping[str, Path],
    tokenizer: Tokenizer,
    family: str,
    shape: ReadingShape,
    target_tokens: int,
    progress: Callable[[str], object] = lambda name: None,
) -> Iterator[ReadingTask]:
    """Every example of a dataset with something retrieved, repository by repository.

    Args:
        labels: folder of the dataset.
        roots: where its repositories are (`find_roots`).
        tokenizer: of the model that is trained, which need not be the one that labelled.
        family: of that model.
        shape: how much is read.
        target_tokens: how much of the completion is learned.
        progress: told each repository's name.

    Raises:
        DatasetError: there is no dataset, or a text is not what was labelled.
    """
    materializer = Materializer(roots, require_description(labels).recipe.chunker)
    repository = ""
    for record in sorted(read_examples(labels), key=lambda record: record.repository):
        if record.repository != repository:
            repository = record.repository
            progress(repository)
        if record.chunks:
            example = materializer.materialize(record)
            yield _reading_task(example, tokenizer, family, shape, target_tokens)


def _reading_task(
    example: TextExample, tokenizer: Tokenizer, family: str, shape: ReadingShape, target_tokens: int
) -> ReadingTask:
    record = example.record
    pairs = sorted(zip(record.chunks, example.chunks, strict=True), key=lambda pair: pair[0].rank)
    labels, chunks = zip(*pairs[: shape.max_chunks], strict=True)
    tokens = [label.reading.cross_file_tokens for label in labels]
    return ReadingTask(
        labels=TrainingTask(
            task_id=record.example_id,
            repository=record.repository,
            level=record.level,
            features=np.zeros((len(labels), 0), np.float32),
            impacts=np.array([label.impact_corrected for label in labels], np.float32),
            cross_file_tokens=np.array(tokens, np.float32),
            everything=record.everything_impact,
            floor=record.control_mean,
        ),
        text=reading_text(example.task.request, chunks, tokenizer, family, shape),
        polarities=tuple(Polarity(label.polarity) for label in labels),
        scores=np.array([label.score for label in labels], np.float32),
        target=tuple(tokenizer.encode(example.task.target)[:target_tokens]),
    )


def training_sequence(task: ReadingTask, control: ControlTokens, *, read_all: bool) -> TrainingSequence:
    """What the model should have read and said; `read_all`: it reads all chunks, also where it had enough."""
    positives = [i for i, polarity in enumerate(task.polarities) if polarity is Polarity.POSITIVE]
    num_wanted = positives[-1] + 1 if positives else 0
    token_ids: list[int] = []
    answers: list[int] = []
    parts: list[Part] = []

    def add(ids: Sequence[int], part: Part, said: Sequence[int] | None = None) -> None:
        token_ids.extend(ids)
        answers.extend(ids if said is None else said)
        parts.extend([part] * len(ids))

    add(task.text.context, Part.CONTEXT)
    for i in range(len(task.polarities) if read_all else num_wanted):
        add([control.more], Part.CONTROL, [control.more if i < num_wanted else control.enough])
        add(task.text.chunks[i], Part.CONTEXT)
        add([control.of(task.polarities[i])], Part.CONTROL)
    add([control.enough], Part.CONTROL)
    add(task.text.opening, Part.CONTEXT)
    add(task.target, Part.TARGET)
    return TrainingSequence(tuple(token_ids), tuple(answers), tuple(parts))


def shuffled_polarities(tasks: Sequence[ReadingTask], seed: int) -> list[ReadingTask]:
    """The control: the same polarities, dealt anew among all chunks."""
    dealt = [polarity for task in tasks for polarity in task.polarities]
    Random(seed).shuffle(dealt)
    rest = iter(dealt)
    return [replace(task, polarities=tuple(next(rest) for _ in task.polarities)) for task in tasks]

"""Labels → what a network is trained on: features and impacts, task by task.

In: a dataset of impact labels and the repositories that it names, or tasks without labels. Out:
`TrainingTask`s. Features are computed on the very texts that were labelled, and by the same code as in a
request. Tasks without labels get copy gains, with in-file budgets of all sizes and lines that are begun, so
that the filter knows prompts that show more of the file than those labelled, and places within a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt

from codefilter.config import Settings
from codefilter.dataset.description import Recipe, require_description
from codefilter.dataset.exclusions import Exclusion
from codefilter.dataset.materialize import Materializer, TextExample
from codefilter.dataset.records import ExampleRecord, ReadingRecord
from codefilter.dataset.sources import RepositorySource
from codefilter.dataset.split import read_splits
from codefilter.dataset.storage import read_examples
from codefilter.errors import DatasetError
from codefilter.filters.drafts import draft_features, draft_matrix
from codefilter.filters.features import FEATURE_NAMES, FeatureExtractor, Matrix
from codefilter.index import RepositoryIndex
from codefilter.paths import atomic_file
from codefilter.prompts.in_file import cut_in_file
from codefilter.retrieval.base import RetrievalQuery
from codefilter.retrieval.table import get_retriever
from codefilter.tasks import sample_tasks
from codefilter.tokenizer import Tokenizer
from codefilter.training.copying import copy_gains
from codefilter.types import CompletionTask, LogLikelihood, RetrievedChunk, TaskLevel, content_hash

COPY_LEVELS: Mapping[TaskLevel, int] = {TaskLevel.LINE: 60, TaskLevel.API: 60, TaskLevel.CHUNK: 40}
_COPY_BUDGETS = ((256, 64), (512, 128), (1024, 512))  # tokens before and after the hole
_COPY_FORM = 4  # counts up when the tasks or their gains are made in another way
_COPY_SEED = 100  # another draw than that of the labels; `elsewhere` leaves out what meets one of them

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrainingTask:
    """The candidates of one task."""

    task_id: str
    repository: str
    level: str
    features: Matrix  # (candidates, features)
    impacts: Values  # (candidates,): corrected nats per target token, or copy gains
    cross_file_tokens: Values  # (candidates,): what each costs in a prompt; zeros where it was not measured
    everything: float = 0.0  # impact of all candidates together that fit, not corrected
    floor: float = 0.0  # mean impact of unrelated chunks: what was taken off to correct
    drafts: Matrix | None = None  # (candidates, draft features); None where nothing was read


def labelled_parts(labels: Path) -> dict[str, str]:
    """Repository → part; those that were set aside for tests are not there.

    Raises:
        DatasetError: the dataset is not divided, or a repository came to it since.
    """
    every = read_splits(labels)
    parts = {name: part for name, part in every.items() if part != "test"}
    if not {"train", "validation"} <= set(parts.values()):
        raise DatasetError(
            f"{labels} is not divided into a train and a validation part",
            hint=f"Divide it: codefilter dataset split {labels} --validation 0.15",
        )
    if missing := sorted({record.repository for record in read_examples(labels)} - every.keys()):
        raise DatasetError(
            f"{labels} has labels of {', '.join(missing)}, in no part",
            hint=f"Deal what is new to the parts: codefilter dataset split {labels}",
        )
    return parts


def labelled_tasks(folder: Path, roots: Mapping[str, Path], tokenizer: Tokenizer) -> Iterator[TrainingTask]:
    """Every example of a dataset, repository by repository.

    Args:
        folder: of the dataset.
        roots: where its repositories are (`find_roots`).
        tokenizer: of the model that labelled them.

    Raises:
        DatasetError: there is no dataset, a repository is not here, or a text is not what was labelled.
    """
    recipe = require_description(folder).recipe
    materializer = Materializer(roots, recipe.chunker)
    records = sorted(read_examples(folder), key=lambda record: record.repository)
    extractor: tuple[str, FeatureExtractor] | None = None
    for record in records:
        if not record.chunks:
            continue
        example = materializer.materialize(record)
        if extractor is None or extractor[0] != record.repository:
            index = RepositoryIndex.open(roots[record.repository], chunker=recipe.chunker)
            extractor = (record.repository, FeatureExtractor(index))
        yield _labelled_task(example, extractor[1], tokenizer, recipe)


def _labelled_task(
    example: TextExample, extractor: FeatureExtractor, tokenizer: Tokenizer, recipe: Recipe
) -> TrainingTask:
    record, request = example.record, example.task.request
    in_file = cut_in_file(request, tokenizer, recipe.prefix_tokens, recipe.suffix_tokens)
    candidates = [
        RetrievedChunk(chunk, reference.score, reference.rank, recipe.retriever)
        for chunk, reference in zip(example.chunks, record.chunks, strict=True)
    ]
    return TrainingTask(
        record.example_id,
        record.repository,
        record.level,
        extractor.extract(request, in_file, candidates).values,
        np.array([chunk.impact_corrected for chunk in record.chunks], np.float32),
        np.array([chunk.reading.cross_file_tokens for chunk in record.chunks], np.float32),
        record.everything_impact,
        record.control_mean,
        _draft_matrix(record),
    )


def _draft_matrix(record: ExampleRecord) -> Matrix | None:
    """None where the engine that labelled did not measure entropies."""
    alone = _draft(record.baseline)
    if alone.per_token and not alone.entropies:
        return None
    return draft_matrix([draft_features(alone, _draft(chunk.reading)) for chunk in record.chunks])


def _draft(reading: ReadingRecord) -> LogLikelihood:
    return LogLikelihood(sum(reading.draft_nats), reading.draft_nats, reading.draft_entropies)


def text_sha256(source: RepositorySource) -> str:
    """Of a repository's text, which a new version need not change, and which may change without one."""
    if source.pin is not None:
        return source.pin.sha256
    files = sorted((file.path, file.content_hash) for file in source.read().sources)
    return content_hash(json.dumps(files))


def copied_tasks(
    source: RepositorySource,
    tokenizer: Tokenizer,
    settings: Settings,
    kept_in: Path,
    counts: Mapping[TaskLevel, int] = COPY_LEVELS,
) -> list[TrainingTask]:
    """Tasks of a repository with copy gains in the place of impacts; none where it is no good for tasks.

    Args:
        source: the repository.
        tokenizer: cuts the in-file text.
        settings: chunker, retriever, number of candidates.
        kept_in: folder in which the result is kept, so that a second run does not compute it.
        counts: tasks by level.
    """
    asked = {
        "repository": [source.name, text_sha256(source)],
        "tokens": content_hash(repr(tokenizer.token_bytes)),
        "features": FEATURE_NAMES,
        "settings": [settings.chunker, settings.retriever, settings.num_candidates],
        "form": _COPY_FORM,
        "tasks": {level.value: count for level, count in counts.items()},
    }
    key = content_hash(json.dumps(asked))[:12]
    kept = kept_in / f"{source.name}-{key}.npz"
    if kept.is_file():
        return _read_tasks(kept, source.name)
    tasks = list(_copied_tasks(source, tokenizer, settings, counts))
    _write_tasks(kept, tasks)
    return tasks


def _copied_tasks(
    source: RepositorySource, tokenizer: Tokenizer, settings: Settings, counts: Mapping[TaskLevel, int]
) -> Iterator[TrainingTask]:
    repository = source.read()
    if repository.problem is not None:
        return
    index = RepositoryIndex.open(source.root, chunker=settings.chunker)
    extractor, retriever = FeatureExtractor(index), get_retriever(settings.retriever, index)
    for level, count in counts.items():
        for whole in sample_tasks(repository, level, count, _COPY_SEED):
            random = Random(whole.task_id)
            task = _begun(whole, random)
            budget = random.choice(_COPY_BUDGETS)
            in_file = cut_in_file(task.request, tokenizer, *budget)
            query = RetrievalQuery(task.request, in_file.start_line)
            candidates = retriever.retrieve(query, settings.num_candidates)
            if candidates:
                features = extractor.extract(task.request, in_file, candidates).values
                texts = [candidate.chunk.text for candidate in candidates]
                gains = copy_gains(in_file.prefix + in_file.typed, in_file.suffix, task.target, texts)
                impacts = np.array(gains, np.float32)
                yield TrainingTask(task.task_id, source.name, level.value, features, impacts, 0 * impacts)


def elsewhere(
    copied: Sequence[TrainingTask], labelled: Sequence[TrainingTask], excluded: Iterable[Exclusion] = ()
) -> list[TrainingTask]:
    """The tasks with copy gains that have no line in common with a labelled one.

    And none in a file of which an example was left out: what is like a benchmark is not learned from either.
    """
    taken = set[tuple[str, int]]().union(*map(_lines, labelled))
    left_out = {file_of(exclusion.example_id) for exclusion in excluded}
    return [t for t in copied if file_of(t.task_id) not in left_out and taken.isdisjoint(_lines(t))]


def file_of(task_id: str) -> str:
    """The file of a task, with its repository, which its name says (`codefilter.tasks.make_task`)."""
    return task_id.rpartition(":")[0]


def _lines(task: TrainingTask) -> set[tuple[str, int]]:
    """A task's file and the numbers of its lines, which its name says (`codefilter.tasks.make_task`)."""
    file, _, place = task.task_id.rpartition(":")
    first, last = place.partition("/")[0].split("-")
    return {(file, line) for line in range(int(first), int(last) + 1)}


def _begun(task: CompletionTask, random: Random) -> CompletionTask:
    """The task, or in one of two cases with a part of its first line typed already."""
    line = task.target.split("\n", 1)[0]
    first = len(line) - len(line.lstrip()) + 1
    if first >= len(line) or random.random() < 0.5:
        return task
    cut = random.randrange(first, len(line))
    request = replace(task.request, prefix=task.request.prefix + task.target[:cut])
    return replace(task, request=request, target=task.target[cut:])


def _write_tasks(path: Path, tasks: Sequence[TrainingTask]) -> None:
    with atomic_file(path) as file:
        np.savez_compressed(
            file,
            ids=np.array([task.task_id for task in tasks], str),
            levels=np.array([task.level for task in tasks], str),
            sizes=np.array([len(task.impacts) for task in tasks], np.int64),
            features=np.concatenate([task.features for task in tasks] or [np.zeros((0, 1), np.float32)]),
            impacts=np.concatenate([task.impacts for task in tasks] or [np.zeros(0, np.float32)]),
        )


def _read_tasks(path: Path, repository: str) -> list[TrainingTask]:
    with np.load(path, allow_pickle=False) as kept:
        ends = np.cumsum(kept["sizes"])[:-1]
        rows = zip(
            kept["ids"].tolist(),
            kept["levels"].tolist(),
            np.split(kept["features"], ends) if len(kept["sizes"]) else [],
            np.split(kept["impacts"], ends) if len(kept["sizes"]) else [],
            strict=True,
        )
        return [TrainingTask(i, repository, level, x, y, 0 * y) for i, level, x, y in rows]

"""Coalition labels of a dataset: ``coalitions.jsonl``, a task per line, beside the shards.

In: labelled examples with their text, a model. Out: `CoalitionLabel`s, kept one by one (a killed run goes
on), and what they say together: how much sets of chunks give that single chunks do not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codefilter.coalitions import CoalitionLabel, CoalitionLabeler, TriedSet
from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.dataset.description import Recipe
from codefilter.dataset.exclusions import read_exclusions
from codefilter.dataset.figures import array, mean
from codefilter.dataset.materialize import TextExample
from codefilter.dataset.records import ExampleRecord
from codefilter.errors import DatasetError
from codefilter.index import RepositoryIndex
from codefilter.lm.base import LanguageModel
from codefilter.paths import cut_torn_line, whole_lines
from codefilter.types import Polarity, RetrievedChunk, content_hash

COALITIONS_FILE = "coalitions.jsonl"


def settings_of(recipe: Recipe, settings: Settings) -> Settings:
    """Settings under which prompts are those of the labels."""
    return replace(
        settings,
        filter="all",
        layout=recipe.layout,
        retriever=recipe.retriever,
        chunker=recipe.chunker,
        chunk_order=recipe.chunk_order,
        num_candidates=recipe.num_candidates,
        prefix_tokens=recipe.prefix_tokens,
        suffix_tokens=recipe.suffix_tokens,
        cross_file_tokens=recipe.cross_file_tokens,
    )


def label_coalitions(
    examples: Iterable[TextExample],
    roots: Mapping[str, Path],
    model: LanguageModel,
    settings: Settings,
    folder: Path,
) -> Iterator[CoalitionLabel]:
    """Label the examples that have no coalition label yet; each is on the disk when it is yielded.

    One writer at a time (the caller holds a lock).
    """
    cut_torn_line(folder / COALITIONS_FILE)
    done = {label.example_id for label in read_coalitions(folder)}
    labeler: tuple[str, CoalitionLabeler] | None = None
    for example in examples:
        record = example.record
        if record.example_id in done:
            continue
        if labeler is None or labeler[0] != record.repository:
            with RepositoryIndex.open(roots[record.repository], chunker=settings.chunker) as index:
                completer = Completer(index, model, settings)
            labeler = record.repository, CoalitionLabeler(completer, model)
        candidates = [
            RetrievedChunk(chunk, reference.score, reference.rank, settings.retriever)
            for chunk, reference in zip(example.chunks, record.chunks, strict=True)
        ]
        baseline = array(record.baseline.target_nats)
        gains = array(chunk.reading.target_nats for chunk in record.chunks) - baseline
        label = labeler[1].label(example.task, candidates, gains, record.control_mean)
        _append(folder / COALITIONS_FILE, label)
        yield label


def choose_examples(
    records: Iterable[ExampleRecord], done: Collection[str], limit: int
) -> list[ExampleRecord]:
    """Examples that some single chunk helps: those that are done, and more at random up to a limit."""
    helped = [r for r in records if any(chunk.polarity == Polarity.POSITIVE for chunk in r.chunks)]
    helped.sort(key=lambda r: (r.example_id not in done, content_hash(r.example_id)))
    return sorted(helped[:limit], key=lambda r: r.example_id)


def _append(path: Path, label: CoalitionLabel) -> None:
    with path.open("ab") as file:
        file.write(json.dumps(asdict(label), separators=(",", ":")).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_coalitions(folder: Path) -> list[CoalitionLabel]:
    """The coalition labels of a dataset, but those of examples that are left out."""
    path = folder / COALITIONS_FILE
    left_out = {exclusion.example_id for exclusion in read_exclusions(folder)}
    try:
        labels = [_parse(line) for line in whole_lines(path)]
        return [label for label in labels if label.example_id not in left_out]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", hint="Delete it and make it again.") from error


def _parse(line: bytes) -> CoalitionLabel:
    values = json.loads(line)
    sets = tuple(TriedSet(**one | {"ranks": tuple(one["ranks"])}) for one in values["sets"])
    return CoalitionLabel(values["example_id"], tuple(values["ranks"]), tuple(values["shapley_nats"]), sets)


@dataclass(frozen=True)
class CoalitionFigures:
    """Means over tasks; nats of the whole target, edit similarity 0 to 100.

    Edit similarities are of the tasks in which something was written with all four sets.
    """

    examples: int
    nats_none: float
    nats_all: float
    nats_best_single: float
    nats_best_set: float
    edit_similarity_none: float
    edit_similarity_all: float
    edit_similarity_best_single: float
    edit_similarity_best_set: float
    chunks_in_best_set: float
    set_beats_single: float  # share of tasks
    written_examples: int = 0  # that edit similarities are of


def coalition_figures(labels: Iterable[CoalitionLabel]) -> CoalitionFigures:
    """What the labels say together; "best single" is the best chunk or none."""
    labels = list(labels)
    none = [_of_size(label, 0) for label in labels]
    everything = [max(label.sets, key=lambda one: len(one.ranks)) for label in labels]
    single = [max(_of_size(label, 0), _of_size(label, 1), key=lambda one: one.nats) for label in labels]
    best = [label.best for label in labels]

    def nats(sets: list[TriedSet]) -> float:
        return mean(array(one.nats for one in sets))

    written = [
        similarities
        for sets in zip(none, everything, single, best, strict=True)
        if None not in (similarities := [one.edit_similarity for one in sets])
    ]
    similarity = [mean(column) for column in array(written).reshape(-1, 4).T]
    return CoalitionFigures(
        examples=len(labels),
        nats_none=nats(none),
        nats_all=nats(everything),
        nats_best_single=nats(single),
        nats_best_set=nats(best),
        edit_similarity_none=similarity[0],
        edit_similarity_all=similarity[1],
        edit_similarity_best_single=similarity[2],
        edit_similarity_best_set=similarity[3],
        chunks_in_best_set=mean(array(len(one.ranks) for one in best)),
        set_beats_single=mean(array(b.nats > s.nats for b, s in zip(best, single, strict=True))),
        written_examples=len(written),
    )


def _of_size(label: CoalitionLabel, size: int) -> TriedSet:
    """The likeliest tried set with at most so many chunks."""
    return max((one for one in label.sets if len(one.ranks) <= size), key=lambda one: one.nats)

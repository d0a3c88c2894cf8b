"""Does a dataset hold what it says? Impacts, means and spreads, which follow from others, are computed again.

In: a dataset's folder; on request its repositories. Out: what is wrong, one sentence each; nothing if all is
well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from codefilter.dataset.description import Description, read_description
from codefilter.dataset.figures import array, pooled_spread
from codefilter.dataset.materialize import Materializer
from codefilter.dataset.parquet import example_ids
from codefilter.dataset.records import DIGITS, PER_TOKEN_DIGITS, ChunkRecord, ExampleRecord
from codefilter.dataset.split import read_splits
from codefilter.dataset.states import read_states, states_path
from codefilter.dataset.storage import read_examples, shards
from codefilter.errors import DatasetError
from codefilter.labeling import CONTROL_RETRIEVER, LabelOptions, polarity_of

_TOLERANCE = 10.0**-PER_TOKEN_DIGITS  # of a mean of rounded values
_EXACT = 3 * 10.0**-DIGITS  # of sums and differences of rounded values, as 32-bit numbers


def validate(folder: Path, roots: Mapping[str, Path] | None = None) -> Iterator[str]:
    """Sentences about what is wrong.

    Args:
        folder: the dataset.
        roots: repositories by name; with them every text's hash is checked too.
    """
    description = read_description(folder)
    if description is None:
        yield "dataset.json is missing: nobody knows what the labels were made with"
        return
    records = list(read_examples(folder))
    in_shards = Counter(example_id for shard in shards(folder) for example_id in example_ids(shard))
    for example_id, count in in_shards.items():
        if count > 1:
            yield f"{example_id} stands {count} times in it"
    known = {source.name for source in description.sources}
    for record in records:
        yield from (f"{record.example_id}: {problem}" for problem in _problems(record, description, known))
    yield from _split_problems(folder, {record.repository for record in records})
    yield from _state_problems(folder, records)
    if roots is not None:
        materializer = Materializer(roots, description.recipe.chunker)
        for record in records:
            try:
                materializer.materialize(record)
            except DatasetError as error:
                yield error.message


def _problems(record: ExampleRecord, description: Description, known: set[str]) -> Iterator[str]:
    options = description.recipe.options
    if record.repository not in known:
        yield f"{record.repository} is not among the sources"
    if len(record.controls) < options.num_controls:
        yield f"{len(record.controls)} controls, {options.num_controls} are promised"
    if any(control.repository == record.repository for control in record.controls):
        yield "a control is of the task's own repository"
    if not record.chunks or len(record.chunks) > description.recipe.num_candidates:
        yield f"{len(record.chunks)} chunks"
    ranks = [chunk.rank for chunk in record.chunks]  # with gaps, where a candidate was over the budget
    if ranks != sorted(set(ranks)):
        yield "the chunks are not in the order of their ranks"
    tokens = len(record.baseline.target_nats)
    readings = [record.everything, *(chunk.reading for chunk in (*record.chunks, *record.controls))]
    if not tokens or any(len(reading.target_nats) != tokens for reading in readings):
        yield "the target has not the same number of tokens everywhere"
        return
    if any(len(reading.draft_nats) != len(record.draft_token_ids) for reading in readings):
        yield "the draft has not the same number of tokens everywhere"
    floor = sum(control.impact for control in record.controls) / max(1, len(record.controls))
    if abs(floor - record.control_mean) > _EXACT:
        yield f"the mean of the controls is {floor:.5f}, not {record.control_mean:.5f}"
    spread = pooled_spread([array(control.impact for control in record.controls)])
    if abs(spread - record.control_spread) > _EXACT:
        yield f"the spread of the controls is {spread:.5f}, not {record.control_spread:.5f}"
    for chunk in (*record.chunks, *record.controls):
        yield from _chunk_problems(chunk, record, options)


def _chunk_problems(chunk: ChunkRecord, record: ExampleRecord, options: LabelOptions) -> Iterator[str]:
    what = f"{CONTROL_RETRIEVER if chunk in record.controls else 'chunk'} {chunk.rank + 1}"
    tokens = len(record.baseline.target_nats)
    mean = (sum(chunk.reading.target_nats) - record.baseline_nats) / tokens
    if abs(mean - chunk.impact) > _TOLERANCE:
        yield f"{what}: its impact is {mean:.4f}, not {chunk.impact:.4f}"
    if abs(chunk.impact_total / tokens - chunk.impact) > _EXACT:
        yield f"{what}: impact of the whole target and per token disagree"
    size = abs(record.baseline_nats)
    slack = _EXACT * (1 + size) + _TOLERANCE * tokens * abs(chunk.impact_relative)
    if size and abs(chunk.impact_relative * size - chunk.impact_total) > slack:
        yield f"{what}: relative impact and that of the whole target disagree"
    if abs(chunk.impact - record.control_mean - chunk.impact_corrected) > _EXACT:
        yield f"{what}: raw and corrected impact disagree"
    near = min(
        abs(chunk.impact_corrected - t) for t in (options.positive_threshold, options.negative_threshold)
    )
    if near > _EXACT and polarity_of(chunk.impact_corrected, options) != chunk.polarity:
        yield f"{what}: polarity {chunk.polarity} with {chunk.impact_corrected:.4f}"


def _state_problems(folder: Path, records: Sequence[ExampleRecord]) -> Iterator[str]:
    """Of the examples that have hidden states: those whose states cannot be theirs."""
    for record in records:
        if states_path(folder, record.example_id).exists():
            try:
                states = read_states(folder, record.example_id)
            except DatasetError as error:
                yield error.message
                continue
            counts = (len(states.chunks), len(states.controls))
            if counts != (len(record.chunks), len(record.controls)):
                yield f"{record.example_id}: hidden states of {counts[0]} chunks and {counts[1]} controls"
            if not all(np.isfinite(tensor).all() for tensor in states.tensors.values()):
                yield f"{record.example_id}: hidden states that are no numbers"


def _split_problems(folder: Path, repositories: set[str]) -> Iterator[str]:
    parts = read_splits(folder)
    missing = sorted(repositories - parts.keys()) if parts else []
    if missing:
        yield f"splits.json says nothing of {', '.join(missing)}"

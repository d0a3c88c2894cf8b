"""The form in which labels are kept: references and numbers, no source text.

In: a `LabeledExample`. Out: an `ExampleRecord`, plain values only, that JSON and Parquet hold alike. Text is
named by package, version, path, lines and hash; `materialize` finds it again and checks every hash. So a
dataset can be published whatever the licence of the code it was made from.
Notable: numbers are rounded here and nowhere else (`PER_TOKEN_DIGITS`, `DIGITS`), so the journal and the
shards hold the same values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from codefilter.labeling import LabeledChunk, LabeledExample, Reading
from codefilter.types import Chunk, content_hash

PER_TOKEN_DIGITS = 3
DIGITS = 5


@dataclass(frozen=True)
class ReadingRecord:
    """Target and draft under one prompt; sums and means are over the lists."""

    target_nats: tuple[float, ...]  # log-probability of each target token
    target_entropies: tuple[float, ...]
    draft_nats: tuple[float, ...]
    draft_entropies: tuple[float, ...]
    prompt_tokens: int
    cross_file_tokens: int


@dataclass(frozen=True)
class ChunkRecord:
    """One chunk, retrieved or control, and its label."""

    repository: str
    version: str
    path: str
    start_line: int
    end_line: int
    language: str
    chunk_id: str  # of place and text: `Chunk.chunk_id`
    rank: int
    score: float
    impact: float  # mean nats per target token (CODEFILTER's)
    impact_total: float  # nats of the whole target
    impact_relative: float
    impact_corrected: float  # `impact` above the mean of the task's controls
    polarity: str  # by `impact_corrected` and the dataset's thresholds
    reading: ReadingRecord


@dataclass(frozen=True)
class StageSeconds:
    """Where a task's time went."""

    retrieve: float
    draft: float
    baseline: float
    chunks: float
    controls: float
    all: float

    @property
    def total(self) -> float:
        """The task's time."""
        return self.retrieve + self.draft + self.baseline + self.chunks + self.controls + self.all


@dataclass(frozen=True)
class ExampleRecord:
    """One task with its labels."""

    example_id: str
    repository: str
    version: str
    path: str
    start_line: int
    end_line: int
    language: str
    level: str
    file_sha256: str  # of the whole file's text
    target_sha256: str
    in_file_start_line: int
    draft_token_ids: tuple[int, ...]
    control_mean: float  # mean impact of the controls
    control_spread: float  # their standard deviation
    baseline: ReadingRecord
    everything: ReadingRecord
    chunks: tuple[ChunkRecord, ...]
    controls: tuple[ChunkRecord, ...]
    seconds: StageSeconds

    @property
    def chunk_ids(self) -> tuple[str, ...]:
        """Of chunks and controls, in their order."""
        return tuple(chunk.chunk_id for chunk in (*self.chunks, *self.controls))

    @property
    def baseline_nats(self) -> float:
        """Log-likelihood of the whole target without chunks."""
        return sum(self.baseline.target_nats)

    @property
    def everything_impact(self) -> float:
        """What all chunks together change, mean nats per target token."""
        tokens = max(1, len(self.baseline.target_nats))
        return (sum(self.everything.target_nats) - self.baseline_nats) / tokens

    @property
    def is_everything_whole(self) -> bool:
        """Whether all chunks together fitted into the prompt, none dropped for the budget."""
        alone = [chunk.reading.cross_file_tokens for chunk in self.chunks]
        return all(alone) and sum(alone) <= self.everything.cross_file_tokens


def repositories_of(records: Iterable[ExampleRecord]) -> set[str]:
    """All that examples name: of their places, chunks and controls."""
    return {
        name
        for record in records
        for name in (record.repository, *(chunk.repository for chunk in (*record.chunks, *record.controls)))
    }


def to_record(example: LabeledExample) -> ExampleRecord:
    """The reference form of an example."""
    place = example.task.provenance
    return ExampleRecord(
        example_id=example.task.task_id,
        repository=place.package,
        version=place.version,
        path=place.path,
        start_line=place.start_line,
        end_line=place.end_line,
        language=example.task.request.language,
        level=example.task.level.value,
        file_sha256=place.content_hash,
        target_sha256=content_hash(example.task.target),
        in_file_start_line=example.in_file_start_line,
        draft_token_ids=example.draft_token_ids,
        control_mean=round(example.control_mean_nats, DIGITS),
        control_spread=round(example.control_spread_nats, DIGITS),
        baseline=_reading(example.baseline),
        everything=_reading(example.everything),
        chunks=tuple(_chunk(chunk) for chunk in example.chunks),
        controls=tuple(_chunk(chunk) for chunk in example.controls),
        seconds=StageSeconds(**{name: round(value, 3) for name, value in example.stage_seconds.items()}),
    )


def _reading(reading: Reading) -> ReadingRecord:
    return ReadingRecord(
        target_nats=_rounded(reading.target.per_token),
        target_entropies=_rounded(reading.target.entropies),
        draft_nats=_rounded(reading.draft.per_token),
        draft_entropies=_rounded(reading.draft.entropies),
        prompt_tokens=reading.prompt_tokens,
        cross_file_tokens=reading.cross_file_tokens,
    )


def _chunk(labeled: LabeledChunk) -> ChunkRecord:
    chunk: Chunk = labeled.candidate.chunk
    return ChunkRecord(
        repository=labeled.repository,
        version=labeled.version,
        path=chunk.path,
        start_line=chunk.start_line,
        end_line=chunk.end_line,
        language=chunk.language,
        chunk_id=chunk.chunk_id,
        rank=labeled.candidate.rank,
        score=round(labeled.candidate.score, DIGITS),
        impact=round(labeled.impact.mean_nats, DIGITS),
        impact_total=round(labeled.impact.total_nats, DIGITS),
        impact_relative=round(labeled.impact.relative, DIGITS),
        impact_corrected=round(labeled.impact.corrected_nats, DIGITS),
        polarity=labeled.polarity.value,
        reading=_reading(labeled.reading),
    )


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, PER_TOKEN_DIGITS) + 0.0 for value in values)  # + 0.0: no minus zero


def to_json(record: ExampleRecord) -> dict[str, Any]:
    """Plain values for `json.dumps` and for Parquet."""
    return asdict(record)


def from_json(values: dict[str, Any]) -> ExampleRecord:
    """The inverse of `to_json`; `KeyError` or `TypeError` where something is missing or too much."""
    plain = dict(values)
    return ExampleRecord(
        **plain
        | {
            "draft_token_ids": tuple(plain["draft_token_ids"]),
            "baseline": _reading_from(plain["baseline"]),
            "everything": _reading_from(plain["everything"]),
            "chunks": tuple(_chunk_from(chunk) for chunk in plain["chunks"]),
            "controls": tuple(_chunk_from(chunk) for chunk in plain["controls"]),
            "seconds": StageSeconds(**plain["seconds"]),
        }
    )


def _reading_from(values: dict[str, Any]) -> ReadingRecord:
    lists = {f.name: tuple(values[f.name]) for f in fields(ReadingRecord) if isinstance(values[f.name], list)}
    return ReadingRecord(**values | lists)


def _chunk_from(values: dict[str, Any]) -> ChunkRecord:
    return ChunkRecord(**values | {"reading": _reading_from(values["reading"])})

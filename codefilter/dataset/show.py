"""One labelled task, as people look at it: chunks by impact, the target's tokens with what each chunk gave.

In: a `TextExample` and the tokenizer it was labelled with. Out: a `ShownExample`; as text for a terminal
here, as HTML in `pages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.rule import Rule
from rich.text import Text

from codefilter.coloring import terminal_tokens
from codefilter.dataset.materialize import TextExample
from codefilter.dataset.records import ChunkRecord, ExampleRecord
from codefilter.errors import DatasetError
from codefilter.terminal import printable_text
from codefilter.tokenizer import Tokenizer
from codefilter.types import Chunk

CONTEXT_LINES = 12


@dataclass(frozen=True)
class ShownChunk:
    """A chunk with its text."""

    record: ChunkRecord
    text: str
    gains: tuple[float, ...]  # nats per target token, above the baseline


@dataclass(frozen=True)
class ShownExample:
    """A task with everything to look at."""

    record: ExampleRecord
    before: str  # the last lines before the hole
    tokens: tuple[str, ...]  # of the target, as `Tokenizer.pieces`
    draft: str
    everything_gains: tuple[float, ...]
    chunks: tuple[ShownChunk, ...]  # by corrected impact, best first
    controls: tuple[ShownChunk, ...]


def show_example(example: TextExample, tokenizer: Tokenizer) -> ShownExample:
    """Put a task's text and numbers together.

    Raises:
        DatasetError: the tokenizer is not the one that the task was labelled with.
    """
    record = example.record
    token_ids = tokenizer.encode(example.task.target)
    if len(token_ids) != len(record.baseline.target_nats):
        raise DatasetError(
            f"{record.example_id} has {len(record.baseline.target_nats)} target tokens, here they are "
            f"{len(token_ids)}",
            hint="Pull the model that the dataset was labelled with.",
        )
    baseline = record.baseline.target_nats
    by_impact = sorted(
        zip(record.chunks, example.chunks, strict=True), key=lambda pair: -pair[0].impact_corrected
    )
    return ShownExample(
        record=record,
        before="\n".join(example.task.request.prefix.rstrip("\n").split("\n")[-CONTEXT_LINES:]),
        tokens=tuple(tokenizer.pieces(token_ids)),
        draft=tokenizer.decode(record.draft_token_ids),
        everything_gains=_gains(record.everything.target_nats, baseline),
        chunks=tuple(_shown(chunk, text, baseline) for chunk, text in by_impact),
        controls=tuple(
            _shown(chunk, text, baseline)
            for chunk, text in zip(record.controls, example.controls, strict=True)
        ),
    )


def _shown(record: ChunkRecord, chunk: Chunk, baseline: Sequence[float]) -> ShownChunk:
    return ShownChunk(record, chunk.text, _gains(record.reading.target_nats, baseline))


def _gains(values: Sequence[float], baseline: Sequence[float]) -> tuple[float, ...]:
    return tuple(value - base for value, base in zip(values, baseline, strict=True))


def terminal_view(shown: ShownExample, top: int) -> Group:
    """The task for a terminal: the truth coloured per chunk, the text of the best and the worst chunk."""
    record = shown.record
    lines: list[Text | Rule] = [
        Rule(f"{record.example_id} ({record.repository} {record.version})"),
        Text(printable_text(shown.before), style="dim"),
        Rule(f"the truth: {record.baseline_nats:.2f} nats without chunks"),
        Text(printable_text("".join(shown.tokens))),
        Rule("the model's own draft"),
        Text(printable_text(shown.draft)),
        Rule(f"all together: {record.everything_impact:+.3f} nats per token"),
        terminal_tokens(shown.tokens, shown.everything_gains),
    ]
    for chunk in shown.chunks[:top]:
        lines += [
            Rule(_title(chunk.record)),
            terminal_tokens(shown.tokens, chunk.gains),
            Text(printable_text(chunk.text), style="dim"),
        ]
    lines.append(Rule(f"unrelated: mean {record.control_mean:+.3f}, spread {record.control_spread:.3f}"))
    lines += [Text(_title(chunk.record)) for chunk in shown.controls]
    return Group(*lines)


def _title(chunk: ChunkRecord) -> str:
    return (
        f"{chunk.impact_corrected:+.3f} {chunk.polarity}, rank {chunk.rank + 1}, "
        f"{chunk.repository}/{chunk.path}:{chunk.start_line + 1}-{chunk.end_line}"
    )

"""What a tuned model reads, and how it is asked: chunk by chunk, with control tokens in between.

In: a request and its candidates' chunks; a model as a function from token ids to the next token's logits.
Out: `ReadingText`, the token ids; `Reading`, what the model says of every chunk (CODEFILTER, arXiv
2508.05970, section 4)::

    the file's text  <MC> chunk <neg>  <MC> chunk <pos>  <EC>  the completion

Notable: the file's own text comes first and is computed once; a chunk that was called useless stays in the
model's sight, and only out of the completion's prompt. At a control token only the legal ones compete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codefilter.filters.control_tokens import ControlTokens
from codefilter.prompts.formats import get_format
from codefilter.prompts.in_file import cut_in_file
from codefilter.prompts.layouts import PromptParts, chunk_as_file, repository, segment_ids
from codefilter.tokenizer import Tokenizer
from codefilter.types import Chunk, CompletionRequest, Polarity, Segment, SegmentRole

NextLogits = Callable[[Sequence[int]], NDArray[np.float32]]
"""Logits of the token that follows, (vocabulary,)."""


@dataclass(frozen=True)
class ReadingShape:
    """How much is read, in tokens of the model that reads."""

    prefix_tokens: int
    suffix_tokens: int
    chunk_tokens: int  # of one chunk, without its header; what is longer is cut
    max_chunks: int


@dataclass(frozen=True)
class ReadingText:
    """Token ids of one request."""

    context: tuple[int, ...]  # the file around the cursor
    chunks: tuple[tuple[int, ...], ...]
    opening: tuple[int, ...]  # between <EC> and the completion: the family's middle token, if it has one


@dataclass(frozen=True)
class Judgement:
    """What is said of one chunk."""

    more: float  # probability of <MC> against <EC>, before the chunk was read
    positive: float  # probabilities of the three, after it
    neutral: float
    negative: float

    def said(self, positive_from: float) -> Polarity:
        """Positive from a threshold on, otherwise the likelier of the other two."""
        if self.positive >= positive_from:
            return Polarity.POSITIVE
        return Polarity.NEGATIVE if self.negative > self.neutral else Polarity.NEUTRAL


@dataclass(frozen=True)
class Reading:
    """What is said of one request's chunks."""

    judgements: tuple[Judgement, ...]  # of those that were read, which are the first
    enough: float  # probability of <EC> where the reading stopped; 0 where the chunks were over


def reading_text(
    request: CompletionRequest,
    chunks: Sequence[Chunk],
    tokenizer: Tokenizer,
    family: str,
    shape: ReadingShape,
) -> ReadingText:
    """Token ids of a request and its first chunks, in the model family's own format.

    The repository's name is left out, which labels and editors tell differently; what is typed of the line
    stands in the prefix, so that it is known before the chunks are judged.
    """
    row = get_format(family, tokenizer)
    cut = cut_in_file(request, tokenizer, shape.prefix_tokens, shape.suffix_tokens)
    in_file = replace(cut, prefix=cut.prefix + cut.typed, typed="")
    parts = PromptParts("", request.path, request.language, in_file, (), row)
    begin = [Segment(SegmentRole.CONTROL, row.begin_token)] if row.begin_token else []
    segments = [*begin, *repository(parts)]
    closing = segments[-1:] if row.middle_token else []

    def chunk_ids(chunk: Chunk) -> tuple[int, ...]:
        ids: list[int] = []
        for segment in chunk_as_file(parts, chunk):
            piece = segment_ids(segment, tokenizer)
            ids += piece[: shape.chunk_tokens] if segment.role is SegmentRole.CHUNK else piece
        return tuple(ids)

    context = segments[: len(segments) - len(closing)]
    return ReadingText(
        context=tuple(i for segment in context for i in segment_ids(segment, tokenizer)),
        chunks=tuple(chunk_ids(chunk) for chunk in chunks[: shape.max_chunks]),
        opening=tuple(i for segment in closing for i in segment_ids(segment, tokenizer)),
    )


def read_chunks(
    text: ReadingText,
    control: ControlTokens,
    next_logits: NextLogits,
    *,
    more_from: float,
    positive_from: float,
) -> Reading:
    """Ask a model, as long as it wants more and there is more.

    Args:
        text: of the request.
        control: the model's control tokens.
        next_logits: the model.
        more_from: the next chunk is read from this probability of <MC> on.
        positive_from: <pos> is said from this probability on; what was said is read before the next chunk.
    """
    ids = list(text.context)
    judgements: list[Judgement] = []
    for chunk in text.chunks:
        more, enough = _probabilities(next_logits(ids), (control.more, control.enough))
        if more < more_from:
            return Reading(tuple(judgements), enough)
        ids += [control.more, *chunk]
        judgement = Judgement(more, *_probabilities(next_logits(ids), control.ids[2:]))
        judgements.append(judgement)
        ids.append(control.of(judgement.said(positive_from)))
    return Reading(tuple(judgements), 0.0)


def num_read(judgements: Sequence[Judgement], more_from: float) -> int:
    """How many of chunks that were all read are read where that threshold holds."""
    return next((i for i, one in enumerate(judgements) if one.more < more_from), len(judgements))


def _probabilities(logits: NDArray[np.float32], legal: Sequence[int]) -> list[float]:
    """Of the legal tokens alone: softmax over their logits."""
    chosen = logits[list(legal)].astype(np.float64)
    weights = np.exp(chosen - chosen.max())
    return [float(weight) for weight in weights / weights.sum()]

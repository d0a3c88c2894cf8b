"""Controls of equal length: what another filter spends on a task, spent without its reasons.

In: a request, its candidates, a reference filter. Out: decisions that keep about as many tokens as the
reference keeps of the same candidates. A trained filter spends much on one task and nothing on the next, so a
control with a fixed budget differs from it in length too; these differ in the choice alone. Notable: a chunk
is taken if it brings the total nearer to the reference's, be it above or below, so that on average they are
equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codefilter.errors import UsageError
from codefilter.filters.base import ChunkFilter, FilterContext, Need, TrainedChunkFilter
from codefilter.filters.simple import draw_order
from codefilter.prompts.selection import CHUNK_ORDERS, select_chunks
from codefilter.types import CompletionRequest, FilterDecision, Polarity, RetrievedChunk

_SEED = 0

Order = Callable[[CompletionRequest, Sequence[RetrievedChunk]], Sequence[RetrievedChunk]]


@dataclass(frozen=True)
class KeepAsMuch:
    """As many tokens as a reference keeps, of chunks in an order that knows nothing of its judgement."""

    kind: str  # name in `ORDERS`
    reference: ChunkFilter

    @property
    def name(self) -> str:
        """As `--filter` takes it."""
        return f"{self.kind}:{self.reference.name}"

    @property
    def needs(self) -> frozenset[Need]:
        """What the reference needs."""
        return self.reference.needs

    @property
    def usual_candidates(self) -> int:
        """As many as the reference chooses from."""
        return self.reference.usual_candidates

    @property
    def max_candidates(self) -> int | None:
        """No more than are of use to the reference."""
        return self.reference.max_candidates

    def decide(
        self, request: CompletionRequest, candidates: Sequence[RetrievedChunk], context: FilterContext
    ) -> list[FilterDecision]:
        """Keep what brings the total nearer to the reference's; errors are the reference's."""
        judged = self.reference.decide(request, candidates, context)
        fitting, _ = select_chunks(judged, context.count_tokens, context.budget_tokens, CHUNK_ORDERS[0])
        wanted = sum(context.count_tokens(chunk) for chunk in fitting)
        order, how = ORDERS[self.kind]
        spent, kept = 0, set()
        for candidate in order(request, candidates):
            total = spent + context.count_tokens(candidate.chunk)
            if total <= context.budget_tokens and abs(total - wanted) < abs(spent - wanted):
                spent = total
                kept.add(candidate.chunk.chunk_id)
        reason = f"{how}: {spent} tokens are kept, {self.reference.name} keeps {wanted}"
        return [
            FilterDecision(one, one.chunk.chunk_id in kept, Polarity.UNKNOWN, 1.0, reason)
            for one in candidates
        ]


@dataclass(frozen=True)
class KeepAsMuchAsTrained(KeepAsMuch):
    """The same for a reference with weights: what is kept depends on them."""

    reference: TrainedChunkFilter

    @property
    def weights_sha256(self) -> str:
        """Of the reference's weights."""
        return self.reference.weights_sha256


def parse_reference(kind: str, argument: str, get_filter: Callable[[str], ChunkFilter]) -> KeepAsMuch:
    """``random-like:classifier`` → the filter; errors are those of the reference's name.

    Raises:
        UsageError: no reference.
    """
    if not argument:
        raise UsageError(
            f"{kind} takes the filter whose tokens it spends", hint=f"For example: --filter {kind}:classifier"
        )
    reference = get_filter(argument)
    if isinstance(reference, TrainedChunkFilter):
        return KeepAsMuchAsTrained(kind, reference)
    return KeepAsMuch(kind, reference)


def _by_rank(request: CompletionRequest, candidates: Sequence[RetrievedChunk]) -> list[RetrievedChunk]:
    return sorted(candidates, key=lambda candidate: candidate.rank)


def _at_random(request: CompletionRequest, candidates: Sequence[RetrievedChunk]) -> list[RetrievedChunk]:
    return draw_order(request, candidates, _SEED)


ORDERS: dict[str, tuple[Order, str]] = {
    "random-like": (_at_random, "drawn at random"),
    "top-k-like": (_by_rank, "by rank"),
}

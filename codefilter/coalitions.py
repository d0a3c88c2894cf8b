"""Which chunks help together: labels of sets, where labels of single chunks miss how they interact.

In: a task whose chunks are labelled one by one, with per-token gains. Out: a `CoalitionLabel`: what each
chunk adds to a set on average (Shapley values), and the sets that were tried on the model itself.
After RepoShapley (arXiv 2601.03378): a surrogate game made from single-chunk probes, exact Shapley values
over all its 2^k sets, and a bounded check of the best sets by the model and by decoding.

Notable: the surrogate is not RepoShapley's. Theirs saturates sums of effects; here the effects per token are
known, so of two chunks that help the same token only the stronger one counts (and of two that harm it, only
the worse one), while chunks that help different tokens add up: redundancy is seen, not assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codefilter.completion import Completer, generation_options
from codefilter.likelihood import target_continuation
from codefilter.lm.base import LanguageModel
from codefilter.metrics import METRIC_FAMILY, score
from codefilter.types import CompletionTask, RetrievedChunk

MAX_CHUNKS = 14  # 2^14 sets

Values = NDArray[np.float64]


@dataclass(frozen=True)
class TriedSet:
    """A set of chunks in the prompt, and what the model makes of it."""

    name: str  # why it was tried
    ranks: tuple[int, ...]
    nats: float  # of the whole target
    exact_match: float | None  # 0 or 1; None where nothing was decoded
    edit_similarity: float | None  # 0 to 100


@dataclass(frozen=True)
class CoalitionLabel:
    """One task."""

    example_id: str
    ranks: tuple[int, ...]  # of the chunks
    shapley_nats: tuple[float, ...]  # of each of them: nats of the whole target, by the surrogate
    sets: tuple[TriedSet, ...]

    @property
    def best(self) -> TriedSet:
        """The set under which the truth is likeliest; of equals the smaller one."""
        return max(self.sets, key=lambda one: (one.nats, -len(one.ranks)))


def surrogate_values(gains: Values) -> Values:
    """What every set of chunks gives, (2^chunks,): bit i of a set's number says whether chunk i is in it.

    Args:
        gains: (chunks, tokens) nats that each chunk alone adds to each target token.
    """
    chunks, tokens = gains.shape
    helped, harmed = np.zeros((1 << chunks, tokens)), np.zeros((1 << chunks, tokens))
    for chunk in range(chunks):
        low, high = slice(0, 1 << chunk), slice(1 << chunk, 2 << chunk)
        helped[high] = np.maximum(helped[low], gains[chunk])
        harmed[high] = np.minimum(harmed[low], gains[chunk])
    return np.asarray((helped + harmed).sum(axis=1))


def shapley_values(values: Values) -> Values:
    """Exact Shapley values of a game with few players, (players,).

    Args:
        values: (2^players,) what every set gives; the empty set comes first.
    """
    players = len(values).bit_length() - 1
    numbers = np.arange(len(values))
    sizes = np.array([int(number).bit_count() for number in numbers])
    found = np.zeros(players)
    for player in range(players):
        without = numbers[(numbers >> player) & 1 == 0]
        size = sizes[without]
        weights = np.array(
            [1 / (players * math.comb(players - 1, others)) for others in range(players)], dtype=np.float64
        )
        found[player] = (weights[size] * (values[without | (1 << player)] - values[without])).sum()
    return found


class CoalitionLabeler:
    """Tries sets of chunks on tasks of one repository."""

    def __init__(self, completer: Completer, model: LanguageModel) -> None:
        """`completer` builds prompts; its budgets and layout are those of the labels."""
        self._completer = completer
        self._model = model

    def label(
        self, task: CompletionTask, candidates: Sequence[RetrievedChunk], gains: Values, floor_nats: float
    ) -> CoalitionLabel:
        """Label one task.

        Args:
            task: the task.
            candidates: its chunks, by rank; those beyond `MAX_CHUNKS` are left out.
            gains: (chunks, tokens) nats that each chunk alone adds to each target token.
            floor_nats: what any text adds per token (the mean of the controls): taken off every gain.
        """
        candidates = candidates[:MAX_CHUNKS]
        values = surrogate_values(gains[: len(candidates)] - floor_nats)
        shapley = shapley_values(values)
        tried: dict[frozenset[int], TriedSet] = {}

        def attempt(name: str, chosen: frozenset[int]) -> TriedSet:
            if chosen not in tried:
                chunks = [candidates[i] for i in sorted(chosen)]
                tried[chosen] = self._try(name, task, chunks, is_written=name != "greedy")
            return tried[chosen]

        attempt("none", frozenset())
        attempt("all", frozenset(range(len(candidates))))
        attempt("best single by labels", frozenset({int(gains.sum(axis=1)[: len(candidates)].argmax())}))
        best = int(values.argmax())
        attempt("best set by surrogate", frozenset(i for i in range(len(candidates)) if best >> i & 1))
        attempt("positive Shapley values", frozenset(int(i) for i in np.flatnonzero(shapley > 0)))
        self._grow(shapley, attempt)
        likeliest = max(tried, key=lambda chosen: tried[chosen].nats)
        if tried[likeliest].edit_similarity is None:
            chunks = [candidates[i] for i in sorted(likeliest)]
            tried[likeliest] = self._try("greedy", task, chunks, is_written=True)
        return CoalitionLabel(
            task.task_id,
            tuple(candidate.rank for candidate in candidates),
            tuple(round(float(value), 4) for value in shapley),
            tuple(tried.values()),
        )

    @staticmethod
    def _grow(shapley: Values, attempt: Callable[[str, frozenset[int]], TriedSet]) -> None:
        """Greedy, measured: in the order of Shapley values, a chunk stays if the truth becomes likelier."""
        kept: frozenset[int] = frozenset()
        nats = attempt("none", kept).nats
        for chunk in np.argsort(-shapley, kind="stable"):
            if shapley[chunk] <= 0:
                break
            grown = kept | {int(chunk)}
            measured = attempt("greedy", grown)
            if measured.nats > nats:
                kept, nats = grown, measured.nats

    def _try(
        self, name: str, task: CompletionTask, chunks: Sequence[RetrievedChunk], *, is_written: bool
    ) -> TriedSet:
        """Measure a set, and decode with it where that is wanted: likelier is not always written."""
        in_file = self._completer.cut_in_file(task.request)
        prompt = self._completer.measuring_prompt(task.request, in_file, chunks)
        continuation = target_continuation(prompt, task.target, self._model.tokenizer)
        likelihood = self._model.log_likelihoods(prompt.token_ids, [continuation])[0]
        exact_match = edit_similarity = None
        if is_written:  # at once: the engine has just read this prompt
            options = generation_options(task.request, prompt)
            scores = score(METRIC_FAMILY, self._model.generate(prompt.token_ids, options)[0].text, task)
            exact_match, edit_similarity = float(scores.exact_match), scores.edit_similarity
        ranks = tuple(one.rank for one in chunks if one.chunk.chunk_id in prompt.chunk_ids)  # as read
        return TriedSet(name, ranks, round(likelihood.total_nats, 4), exact_match, edit_similarity)

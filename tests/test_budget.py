"""The latency budget: what reading costs, which chunks stay, which are dropped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from codefilter.budget import Planner, ReadingCost, choose, still_good
from codefilter.completion import Completer, PreparedPrompt
from codefilter.config import Settings
from codefilter.lm.base import Cancellation, Generation, GenerationOptions
from codefilter.lm.fake import FakeLanguageModel
from codefilter.prompts.in_file import InFileContext
from codefilter.types import (
    Chunk,
    CompletionRequest,
    FilterDecision,
    Polarity,
    Prompt,
    RetrievedChunk,
)

ONE_TOKEN = GenerationOptions(max_new_tokens=1)
HERE = CompletionRequest("a.py", "x = 1\ny = ", "\n", "python")
ELSEWHERE = CompletionRequest("b.py", "z = 1\n" * 60, "\n", "python")


def prompt(*token_ids: int) -> Prompt:
    return Prompt((), token_ids, "qwen2.5-coder", "repository", "", (), (), 0)


def decision(name: str, rank: int, confidence: float | None = None) -> FilterDecision:
    polarity = Polarity.UNKNOWN if confidence is None else Polarity.POSITIVE
    chunk = Chunk(f"{name}.py", f"# {name * 200}\n", 0, 1, "python")
    return FilterDecision(RetrievedChunk(chunk, 1.0, rank, "bm25"), True, polarity, confidence or 1.0, "")


def ids(*decisions: FilterDecision) -> tuple[str, ...]:
    return tuple(one.candidate.chunk.chunk_id for one in decisions)


class Keeping(FakeLanguageModel):
    """Says that it keeps every prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: set[tuple[int, ...]] = set()

    def generate(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        cancellation: Cancellation | None = None,
    ) -> list[Generation]:
        self.kept.add(tuple(prompt_ids))
        return super().generate(prompt_ids, options, cancellation)

    def reusable_tokens(self, prompt_ids: Sequence[int]) -> int:
        return len(prompt_ids) if tuple(prompt_ids) in self.kept else 0


class Deciding(Completer):
    """A completer whose filter decides as it is told."""

    def __init__(self, model: FakeLanguageModel, *decisions: FilterDecision) -> None:
        super().__init__(None, model, Settings())
        self.decisions = decisions

    def prepare(
        self,
        request: CompletionRequest,
        cancellation: Cancellation | None = None,
        *,
        look_for: CompletionRequest | None = None,
    ) -> PreparedPrompt:
        prepared = super().prepare(request, cancellation)
        whole = self.build_prompt(request, prepared.in_file, self.decisions)
        return replace(prepared, decisions=self.decisions, prompt=whole, stage_seconds={"prompt": 0.0})


def cost_of(model: FakeLanguageModel) -> ReadingCost:
    """Ten milliseconds for a token."""
    cost = ReadingCost(model)
    cost.was_read(100, 1.0)
    return cost


def test_the_first_prompt_that_can_be_read_in_time_is_chosen() -> None:
    model = FakeLanguageModel()
    cost = ReadingCost(model)
    long, short = prompt(*[1] * 1000), prompt(*[2] * 100)
    assert choose([long, short], cost, 0.5) == 0  # nothing is known
    cost.was_read(100, 1.0)
    assert cost.seconds(long) == pytest.approx(10)
    assert choose([long, short], cost, 5.0) == 1
    assert choose([long, short], cost, 0.0) == 0  # no budget
    assert choose([long, short], cost, 0.001) == 1  # none fits: the cheapest
    model.generate(long.token_ids, ONE_TOKEN)
    other = prompt(*[1] * 1000, 7, 8)
    assert cost.seconds(other) == pytest.approx(0.02)  # what was read costs nothing
    assert choose([other, short], cost, 0.5) == 0
    model.generate([*[1] * 10, 9], ONE_TOKEN)  # whoever has the model read it
    assert cost.seconds(long) == pytest.approx(9.9)


def test_chunks_stay_while_the_most_useful_are_among_them() -> None:
    decisions = [decision(name, rank) for rank, name in enumerate("abcde")]
    assert still_good(ids(*decisions[:3]), decisions)
    assert not still_good(ids(*decisions[:2]), decisions)
    assert still_good(ids(*decisions[1:4]), [replace(decisions[0], keep=False), *decisions[1:]])
    assert not still_good((), [replace(d, keep=False) for d in decisions])
    sure = [decision(name, rank, 0.5 + rank / 10) for rank, name in enumerate("abcde")]
    assert still_good(ids(*sure[2:]), sure)  # though the retriever found others first
    assert not still_good(ids(*sure[:3]), sure)


def test_the_least_useful_chunks_are_dropped_first() -> None:
    model = FakeLanguageModel()
    decisions = [decision(name, rank, 0.5 + rank / 10) for rank, name in enumerate("abcd")]
    planner = Planner(Deciding(model, *decisions), cost_of(model))
    assert not planner.plan(HERE, 0.0).is_shortened
    plan = planner.plan(HERE, 6.0)
    assert plan.is_shortened
    assert plan.prepared.prompt.chunk_ids == ids(*decisions[2:])  # the surest, found last
    assert plan.prepared.decisions == tuple(decisions)
    assert planner.plan(HERE, 1.0).prepared.prompt.chunk_ids == ()


def test_nothing_is_dropped_from_a_prompt_that_the_model_keeps() -> None:
    model = Keeping()
    planner = Planner(
        Deciding(model, *(decision(name, rank) for rank, name in enumerate("abcd"))), cost_of(model)
    )
    whole = planner.plan(HERE, 0.0).prepared.prompt
    assert planner.plan(HERE, 1.0).is_shortened
    model.generate(whole.token_ids, ONE_TOKEN)
    model.generate(planner.plan(ELSEWHERE, 0.0).prepared.prompt.token_ids, ONE_TOKEN)
    back = planner.plan(HERE, 1.0)
    assert not back.is_shortened
    assert back.prepared.prompt == whole


def test_the_last_chunks_stay_at_a_place_while_other_files_stay_as_they_are() -> None:
    model = FakeLanguageModel()
    first, second = decision("a", 0), decision("b", 1)
    completer = Deciding(model, first)
    planner = Planner(completer, ReadingCost(model))
    planner.plan(HERE, 0.0)
    completer.decisions = (replace(first, keep=False), second)
    assert planner.plan(HERE, 0.0).prepared.prompt.chunk_ids == ids(second)  # the best is another
    completer.decisions = (replace(first, keep=False), second, *(decision(n, 2) for n in "c"))
    planner.plan(HERE, 0.0)
    completer.decisions = (second,)
    assert len(planner.plan(HERE, 0.0).prepared.prompt.chunk_ids) == 2
    assert planner.plan(HERE, 0.0, context_version=1).prepared.prompt.chunk_ids == ids(second)


def test_the_time_to_build_prompts_that_were_not_taken_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeLanguageModel()
    completer = Deciding(model, decision("a", 0))
    planner = Planner(completer, ReadingCost(model))
    planner.plan(HERE, 0.0)
    build = completer.build_prompt

    def build_slowly(
        request: CompletionRequest, in_file: InFileContext, decisions: Sequence[FilterDecision]
    ) -> Prompt:
        time.sleep(0.02)
        return build(request, in_file, decisions)

    monkeypatch.setattr(completer, "build_prompt", build_slowly)
    assert planner.plan(HERE, 0.0).prepared.stage_seconds["prompt"] >= 0.02

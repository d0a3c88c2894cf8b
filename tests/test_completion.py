"""The completion pipeline, end to end, with a model that copies: what is kept reaches the prompt."""

from dataclasses import replace
from pathlib import Path

import pytest

from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.errors import CancelledError, UsageError
from codefilter.index import RepositoryIndex
from codefilter.likelihood import target_continuation
from codefilter.lm.base import Cancellation
from codefilter.lm.fake import FakeLanguageModel, byte_tokenizer
from codefilter.types import Completion, CompletionRequest, FinishReason, Prompt, SegmentRole

HELPER = """
def compute_weighted_average(values, weights):
    total = sum(value * weight for value, weight in zip(values, weights))
    return total / sum(weights)
"""
CALLER = """from numbers_lib import compute_weighted_average

def report(values, weights):
    average = compute_weighted_av"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "numbers_lib.py").write_text(HELPER)
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "other.py").write_text("def unrelated():\n    return None\n")
    (tmp_path / ".env").write_text("compute_weighted_average_secret=hunter2\n")
    return tmp_path


def complete(repository: Path, filter_name: str, **changes: object) -> Completion:
    settings = replace(Settings(model="fake", filter=filter_name), **changes)
    index = RepositoryIndex.open(repository, chunker=settings.chunker)
    request = CompletionRequest("caller.py", CALLER, "\n    return average\n", "python")
    return Completer(index, FakeLanguageModel(), settings).complete(request)


def test_a_chunk_of_another_file_completes_the_line(repository: Path) -> None:
    completion = complete(repository, "all")
    assert completion.text == "erage"  # the import line stands nearer, and the copier follows it
    kept = [d.candidate.chunk.path for d in completion.decisions if d.keep]
    assert "numbers_lib.py" in kept
    assert HELPER.strip() in completion.prompt.text
    assert completion.finish_reason is FinishReason.LINES
    assert list(completion.stage_seconds) == ["in-file", "retrieve", "filter", "prompt", "read", "write"]


def test_none_shows_nothing_of_other_files(repository: Path) -> None:
    completion = complete(repository, "none")
    assert completion.decisions == ()
    assert completion.prompt.num_cross_file_tokens == 0
    assert all(segment.role is not SegmentRole.CHUNK for segment in completion.prompt.segments)


def test_the_in_file_part_does_not_depend_on_the_filter(repository: Path) -> None:
    roles = (SegmentRole.PREFIX, SegmentRole.SUFFIX, SegmentRole.TYPED)
    parts = [
        [segment for segment in complete(repository, name).prompt.segments if segment.role in roles]
        for name in ("none", "all", "top-k:1")
    ]
    assert parts[0] == parts[1] == parts[2]


def test_top_k_keeps_the_best_and_says_why(repository: Path) -> None:
    completion = complete(repository, "top-k:1")
    assert [d.keep for d in completion.decisions] == [d.candidate.rank == 0 for d in completion.decisions]
    assert "rank 1" in completion.decisions[0].reason


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("none", 0, 0),
        ("none", 5, 0),
        ("all", 0, 10),
        ("all", 4, 4),
        ("all", 33, 33),
        ("classifier", 0, 30),
        ("classifier", 10, 10),
        ("top-k-like:classifier", 0, 30),
    ],
)
def test_how_many_candidates_a_filter_chooses_from(
    repository: Path, name: str, asked: int, expected: int
) -> None:
    for number in range(40):
        (repository / f"more{number}.py").write_text(
            f"def compute_{number}(values):\n    return values[{number}]\n"
        )
    assert len(complete(repository, name, num_candidates=asked).decisions) == expected


def test_the_threshold_keeps_what_is_similar(repository: Path) -> None:
    assert all(d.keep for d in complete(repository, "threshold:0").decisions)
    assert not any(d.keep for d in complete(repository, "threshold:1").decisions)
    some = complete(repository, "threshold:0.2").decisions
    assert {d.candidate.chunk.path for d in some if d.keep} == {"numbers_lib.py"}


def test_over_the_budget_whole_chunks_are_dropped_and_it_says_so(repository: Path) -> None:
    completion = complete(repository, "all", cross_file_tokens=60)
    assert completion.prompt.num_cross_file_tokens <= 60
    assert completion.prompt.dropped_chunk_ids
    assert any("did not fit" in notice for notice in completion.notices)


def test_secrets_never_reach_a_prompt(repository: Path) -> None:
    assert "hunter2" not in complete(repository, "all", num_candidates=100).prompt.text


def test_the_files_own_text_after_the_cursor_is_not_retrieved(tmp_path: Path) -> None:
    text = "".join(f"def function_{n}():\n    return special_value_{n}\n\n" for n in range(60))
    (tmp_path / "only.py").write_text(text)
    index = RepositoryIndex.open(tmp_path)
    settings = Settings(model="fake", prefix_tokens=300)
    at = text.index("def function_40")
    completer = Completer(index, FakeLanguageModel(), settings)
    request = CompletionRequest("only.py", text[:at], text[at:], "python")
    shown_from = completer.cut_in_file(request).start_line
    decisions = completer.complete(request).decisions
    assert 0 < shown_from < text[:at].count("\n")
    assert decisions
    assert all(decision.candidate.chunk.end_line <= shown_from for decision in decisions)


def test_without_an_index_it_completes_from_the_file_alone() -> None:
    request = CompletionRequest("x.py", "alpha_beta = 1\nprint(alpha_b", ")\n", "python")
    completion = Completer(None, FakeLanguageModel(), Settings(model="fake")).complete(request)
    assert completion.text == "eta = 1"
    assert completion.decisions == ()


def test_a_cancelled_request_raises(repository: Path) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    index = RepositoryIndex.open(repository)
    request = CompletionRequest("caller.py", CALLER, "", "python")
    with pytest.raises(CancelledError):
        Completer(index, FakeLanguageModel(), Settings(model="fake")).complete(request, cancellation)


@pytest.mark.parametrize(
    "wrong", [{"filter": "magic"}, {"filter": "top-k:x"}, {"filter": "threshold:7"}, {"retriever": "magic"}]
)
def test_unknown_names_are_usage_errors(repository: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Completer(RepositoryIndex.open(repository), FakeLanguageModel(), replace(Settings(), **wrong))


@pytest.mark.parametrize(
    ("healed", "target", "scored"),
    [("", "return x", 8), ("fo", "o_bar", 5), ("", "", 0)],
)
def test_only_the_target_is_scored(healed: str, target: str, scored: int) -> None:
    prompt = Prompt((), (1,), "qwen2.5-coder", "repository", healed, (), (), 0)
    continuation = target_continuation(prompt, target, byte_tokenizer())
    assert bytes(continuation.token_ids).decode() == healed + target
    assert continuation.num_targets == scored

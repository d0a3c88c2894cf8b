"""Strategies: what a later round looks for, and when retrieval is left out."""

from pathlib import Path

import pytest

from codefilter.completion import Completer, PreparedPrompt
from codefilter.config import Settings
from codefilter.errors import UsageError
from codefilter.index import RepositoryIndex
from codefilter.lm.fake import FakeLanguageModel
from codefilter.strategies import DRAFT, EARLIER, get_strategy
from codefilter.types import Completion, CompletionRequest

PREFIX = "from lib import x\n\ndef report(values):\n    total = compute_weighted_mean"
REQUEST = CompletionRequest("app.py", PREFIX, "\n", "python")
LIBRARY = "def other():\n    total = compute_weighted_mean(values, marker_of_the_second_round)\n"
FAR = "marker_of_the_second_round = 1\n"


@pytest.fixture
def completer(tmp_path: Path) -> Completer:
    files = {"app.py": PREFIX, "lib.py": LIBRARY, "far.py": FAR}
    others = {f"other{i}.py": f"class Other{i}:\n    size = {i}\n" for i in range(6)}
    for name, text in (files | others).items():
        (tmp_path / name).write_text(text)
    settings = Settings(model="fake", filter="all", retriever="bm25")
    return Completer(RepositoryIndex.open(tmp_path), FakeLanguageModel(), settings)


class Writer:
    """Writes, and counts."""

    def __init__(self, completer: Completer) -> None:
        self.completer = completer
        self.written: list[str] = []

    def __call__(self, request: CompletionRequest, prepared: PreparedPrompt) -> Completion:
        completion = self.completer.generate(request, prepared)[0]
        self.written.append(completion.text)
        return completion


def paths(prepared: PreparedPrompt) -> list[str]:
    return [d.candidate.chunk.path for d in prepared.decisions if d.keep]


def test_once_is_the_completers_own_way(completer: Completer) -> None:
    writer = Writer(completer)
    prepared = get_strategy("once").prepare(completer, REQUEST, writer)
    assert prepared.prompt == completer.prepare(REQUEST).prompt
    assert writer.written == []
    assert paths(prepared) == ["lib.py"]


def test_the_second_round_looks_for_what_the_first_wrote(completer: Completer) -> None:
    writer = Writer(completer)
    prepared = get_strategy("iterative").prepare(completer, REQUEST, writer)
    assert writer.written == ["(values, marker_of_the_second_round)"]
    found = [d.candidate.chunk.path for d in prepared.decisions]
    assert "far.py" in found  # which shares no word with the first query
    assert "far.py" not in [d.candidate.chunk.path for d in completer.prepare(REQUEST).decisions]
    assert prepared.stage_seconds[EARLIER] > 0
    assert prepared.prompt.text.endswith("compute_weighted_mean")  # what was written is not in the prompt


def test_a_sure_model_does_not_retrieve_and_an_unsure_one_does(completer: Completer) -> None:
    unsure = get_strategy("selective:-0.0001").prepare(completer, REQUEST, Writer(completer))
    assert paths(unsure) == ["lib.py"]
    sure = get_strategy("selective:-100").prepare(completer, REQUEST, Writer(completer))
    assert sure.decisions == ()
    assert sure.prompt == completer.prepare_alone(REQUEST).prompt
    assert sure.stage_seconds[DRAFT] > 0  # it was written before it could be judged


@pytest.mark.parametrize(
    "name", ["twice", "once:2", "iterative:1", "iterative:x", "selective:0.5", "selective", ""]
)
def test_other_strategies_are_usage_errors(name: str) -> None:
    with pytest.raises(UsageError, match="no strategy"):
        get_strategy(name)


@pytest.mark.parametrize("name", ["once", "iterative:3", "selective:-0.25"])
def test_a_strategy_is_called_what_it_calls_itself(name: str) -> None:
    assert get_strategy(name).name == name

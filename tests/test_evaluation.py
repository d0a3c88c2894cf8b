"""Arms on tasks: what helps scores higher, what is the same scores the same, and nothing is lost."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from codefilter.cli import main
from codefilter.cli.evaluate import _limited
from codefilter.config import Settings
from codefilter.errors import ConfigError, UsageError
from codefilter.evaluation import (
    RESULTS_FILE,
    TaskResult,
    evaluate,
    parse_arm,
    read_results,
    summarise,
)
from codefilter.lm.fake import FakeLanguageModel
from codefilter.tasks import LineSpan, make_task
from codefilter.types import CompletionTask, SourceFile, TaskLevel, content_hash

SETTINGS = Settings(model="fake")
MODEL = FakeLanguageModel()
APP = """from lib import x

def report(values):
    total = compute_weighted_mean(values, scale=3)
    return total
"""


def tasks_with(folder: Path, library: str) -> list[tuple[Path, list[CompletionTask]]]:
    """A repository whose other file holds `library`, and the task to write the line with the call."""
    (folder / "app.py").write_text(APP)
    (folder / "lib.py").write_text(library)
    source = SourceFile("app.py", APP, "python", content_hash(APP))
    return [(folder, [make_task("demo", "1", source, LineSpan(3, 4), TaskLevel.LINE)])]


HELPFUL = "def report(values):\n    total = compute_weighted_mean(values, scale=3)\n"
POISON = "def report(values):\n    total = something_else_entirely()\n"


def test_a_planted_chunk_moves_the_figures_in_its_direction(tmp_path: Path) -> None:
    arms = [parse_arm("none", SETTINGS), parse_arm("all", SETTINGS)]
    found = {}
    for name, library in (("helpful", HELPFUL), ("poison", POISON)):
        folder = tmp_path / name
        folder.mkdir()
        found[name] = evaluate(tasks_with(folder, library), arms, MODEL, tmp_path / f"{name}-out")
    without, helped = found["helpful"]
    _, harmed = found["poison"]
    assert helped.target_nats > without.target_nats + 5
    assert harmed.target_nats < helped.target_nats - 5
    assert (without.kept, without.cross_file_tokens) == (0, 0)
    assert helped.kept == 1


def test_two_arms_that_are_the_same_do_not_differ(tmp_path: Path) -> None:
    arms = [parse_arm("all", SETTINGS), parse_arm("all/num_candidates=10", SETTINGS)]
    first, second = evaluate(tasks_with(tmp_path, HELPFUL), arms, MODEL, tmp_path / "out")
    assert first.target_nats - second.target_nats == 0.0
    assert first.prediction == second.prediction
    rows = summarise([first, second], arms)
    assert rows[0].nats_per_token == rows[1].nats_per_token
    assert rows[1].worse_than_first == 0.0


def test_a_killed_run_goes_on_and_gives_the_same_figures(tmp_path: Path) -> None:
    arms = [parse_arm(name, SETTINGS) for name in ("none", "all", "top-k:1")]
    repositories = tasks_with(tmp_path, HELPFUL)
    whole = evaluate(repositories, arms, MODEL, tmp_path / "whole")
    path = tmp_path / "killed" / RESULTS_FILE
    path.parent.mkdir()
    lines = (tmp_path / "whole" / RESULTS_FILE).read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1][: len(lines[1]) // 2])  # killed while it wrote the second line
    done: list[TaskResult] = []
    again = evaluate(repositories, arms, MODEL, path.parent, done.append)
    assert [result.arm for result in done] == ["all", "top-k:1"]
    assert [strip_times(r) for r in again] == [strip_times(r) for r in whole]
    assert len(list(read_results(path))) == 3


def strip_times(result: TaskResult) -> dict[str, object]:
    return {name: value for name, value in asdict(result).items() if name != "seconds"}


def test_without_writing_only_the_likelihood_is_measured(tmp_path: Path) -> None:
    arms = [parse_arm("all", SETTINGS)]
    repositories = tasks_with(tmp_path, HELPFUL)
    written = evaluate(repositories, arms, MODEL, tmp_path / "a")[0]
    measured = evaluate(repositories, arms, MODEL, tmp_path / "b", write=False)[0]
    assert measured.prediction is None
    assert measured.exact_match is None
    assert measured.target_nats == pytest.approx(written.target_nats)
    assert summarise([measured], arms)[0].edit_similarity is None


def test_a_file_that_holds_no_results_is_named(tmp_path: Path) -> None:
    path = tmp_path / RESULTS_FILE
    path.write_text("{}\n")
    with pytest.raises(UsageError, match="line 1 is not a result"):
        list(read_results(path))


def test_an_arm_is_a_filter_and_settings() -> None:
    arm = parse_arm("top-k:3/layout=after-suffix/num_candidates=5", SETTINGS)
    assert (arm.settings.filter, arm.settings.layout, arm.settings.num_candidates) == (
        "top-k:3",
        "after-suffix",
        5,
    )
    with pytest.raises(UsageError, match="is not a setting"):
        parse_arm("all/layout", SETTINGS)
    with pytest.raises(ConfigError):
        parse_arm("all/colour=red", SETTINGS)


def test_the_limit_takes_from_every_repository_in_turn(tmp_path: Path) -> None:
    tasks = tasks_with(tmp_path, HELPFUL)[0][1] * 3
    repositories = [(Path("a"), tasks), (Path("b"), tasks)]
    assert [len(kept) for _, kept in _limited(repositories, 3)] == [2, 1]
    assert _limited(repositories, None) == repositories


def test_unknown_benchmarks_and_levels_are_usage_errors(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = ["--out", str(tmp_path), "--model", "fake"]
    assert main(["evaluate", "magic", *out]) == 2
    assert "unknown benchmark" in capsys.readouterr().err
    assert main(["evaluate", "fresh", "--levels", "page", *out]) == 2
    assert "unknown level" in capsys.readouterr().err


def test_records_name_model_data_and_settings() -> None:
    path = Path(__file__).parents[1] / "data" / "results" / "fresh-untrained.json"
    record = json.loads(path.read_text())
    assert len(record["model"]["sha256"]) == 64
    assert record["settings"]["layout"]
    assert record["tasks"] * len(record["arms"]) == len(record["results"])
    assert all("prediction" not in result for result in record["results"])  # other people's code stays out

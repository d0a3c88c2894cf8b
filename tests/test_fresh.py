"""Fresh: the committed list is what sampling gives, holds no text, and refuses files that are not its own."""

import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from codefilter.benchmarks import MismatchReason, get_benchmark, sampling
from codefilter.benchmarks.fresh import to_line
from codefilter.benchmarks.sampling import (
    FRESH_COUNTS,
    draw_package,
    find_duplicated_chunks,
    read_duplicated_chunks,
)
from codefilter.cli import main
from codefilter.errors import SourceError, UsageError
from codefilter.packages import PackagePin, Progress, load_corpora, package_folder
from codefilter.paths import data_path
from codefilter.tasks import TaskRepository, read_repository
from codefilter.types import SourceFile, TaskLevel, content_hash
from tests.labelled_repositories import WEATHER_FILES, write_repository
from tests.released_data import fresh_line, write_fresh, write_jsonl

FOLDER = data_path() / "fresh"
PINS = {pin.name: pin for pin in load_corpora() if pin.role == "benchmark"}
DEFAULT_MODEL_PUBLISHED = date(2024, 11, 12)  # Qwen2.5-Coder-0.5B


def lines_of(level: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / f"{level}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("level", "count"), FRESH_COUNTS.items())
def test_every_package_has_its_tasks_and_no_line_holds_text(level: str, count: int) -> None:
    lines = lines_of(level)
    assert Counter(line["package"] for line in lines) == dict.fromkeys(PINS, count)
    for line in lines:
        assert set(line) == {"package", "version", "path", "start_line", "end_line", "sha256"}
        assert line["version"] == PINS[line["package"]].version


def test_no_package_was_there_when_the_default_model_was_published() -> None:
    for pin in PINS.values():
        assert date.fromisoformat(pin.nothing_before) >= DEFAULT_MODEL_PUBLISHED


@pytest.fixture
def here(user_cache: None) -> list[PackagePin]:
    """The packages of Fresh that the user has."""
    found = [pin for pin in PINS.values() if package_folder(pin).is_dir()]
    if not found:
        pytest.skip("no package of Fresh is in the cache; codefilter benchmark prepare fresh")
    return found


def test_every_line_of_the_packages_that_are_here_is_a_task(here: list[PackagePin]) -> None:
    loaded = get_benchmark("fresh").load()
    assert [str(m) for m in loaded.mismatches if m.reason is not MismatchReason.NO_REPOSITORY] == []
    assert Counter(task.repository for task in loaded.tasks) == {
        pin.name: sum(FRESH_COUNTS.values()) for pin in here
    }


def test_the_list_is_drawn_again_the_same(here: list[PackagePin]) -> None:
    pin = min(here, key=lambda pin: pin.lines)
    package = read_repository(package_folder(pin), pin.name, pin.version)
    tasks = draw_package(package, read_duplicated_chunks(FOLDER))
    for level in FRESH_COUNTS:
        drawn = [to_line(task) for task in tasks if task.level is level]
        assert drawn == [line for line in lines_of(level) if line["package"] == pin.name]


def test_without_packages_every_task_is_a_mismatch_and_the_command_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    loaded = get_benchmark("fresh").load()
    assert loaded.tasks == ()
    assert {m.reason for m in loaded.mismatches} == {MismatchReason.NO_REPOSITORY}
    assert main(["benchmark", "verify", "fresh"]) == 1
    assert "codefilter benchmark prepare fresh" in capsys.readouterr().out


def test_another_file_and_lines_that_are_not_there_are_named(tmp_path: Path) -> None:
    folder = write_fresh(tmp_path)
    changed = {**fresh_line("acme/cart.py", (8, 9)), "sha256": "0" * 64}
    write_jsonl(folder / "line.jsonl", [changed, fresh_line("acme/store.py", (20, 2000)), {"package": "x"}])
    reasons = [m.reason for m in get_benchmark("fresh").load(folder).mismatches]
    assert sorted(reasons) == sorted(
        [MismatchReason.CONTEXT_DIFFERS, MismatchReason.TARGET_ELSEWHERE, MismatchReason.WRONG_FORM]
    )


def test_a_list_of_ones_own_is_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEFILTER_FRESH", str(write_fresh(tmp_path)))
    assert [task.repository for task in get_benchmark("fresh").load().tasks] == ["owner_shop", "owner_shop"]
    monkeypatch.setenv("CODEFILTER_FRESH", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="no folder"):
        get_benchmark("fresh").load()


def package_of(text: str, name: str) -> TaskRepository:
    return TaskRepository(name, "1", (SourceFile("a.py", text, "python", content_hash(text)),))


def test_a_chunk_that_training_data_has_is_found_and_gives_no_task() -> None:
    copied = "\n".join(
        f"def compute_{i}(values):\n    return sum(values) * {i} + offset_{i}" for i in range(8)
    )
    own = "\n".join(f"class Own{i}:\n    size_{i} = {i}\n    def run(self):\n        pass" for i in range(8))
    package = package_of(f"{own}\n\n\n{copied}\n", "mine")
    duplicates = find_duplicated_chunks([package], [package_of(f"# theirs\n{copied}\n", "theirs")])
    assert duplicates
    first_copied = package.sources[0].text.split("\n").index("def compute_0(values):")
    assert min(chunk.start_line for chunk in duplicates) >= first_copied
    assert all(chunk.duplicate_of.startswith("theirs/a.py:") for chunk in duplicates)


def test_sample_draws_the_same_list_again_and_nothing_that_stands_in_training_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = {"theirs/fog.py": WEATHER_FILES["weather/fog.py"]}
    folders = {
        "weather": write_repository(tmp_path / "weather", WEATHER_FILES),
        "theirs": write_repository(tmp_path / "theirs", copied),
    }

    def fetch(pin: PackagePin, progress: Progress) -> Path:
        progress(pin.name, 1, 1)
        return folders[pin.name]

    pins = [
        PackagePin(name, "1", "", "", role, 1, 1)
        for name, role in (("weather", "benchmark"), ("theirs", "train"))
    ]
    monkeypatch.setattr(sampling, "load_corpora", lambda: pins)
    monkeypatch.setattr(sampling, "fetch_package", fetch)
    monkeypatch.setattr(sampling, "FRESH_COUNTS", {TaskLevel.LINE: 15, TaskLevel.CHUNK: 5})
    lists = []
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / f"list-{number}"
        assert main(["benchmark", "sample", "--out", str(out), "--seed", str(seed)]) == 0
        captured = capsys.readouterr()
        assert captured.out.replace("\n", "") == f"20 tasks in 1 packages, drawn into {out}"
        assert captured.err.splitlines() == ["weather", "theirs"]
        lists.append("".join((out / f"{level}.jsonl").read_text() for level in ("line", "chunk")))
        assert "weather/rain.py" in lists[-1]
        assert "fog" not in lists[-1]
        assert {chunk.path for chunk in read_duplicated_chunks(out)} == {"weather/fog.py"}
    assert lists[0] == lists[1] != lists[2]


def test_a_package_with_too_few_tasks_is_refused() -> None:
    with pytest.raises(SourceError, match="0 line tasks"):
        draw_package(package_of("x = 1\n", "tiny"), [])

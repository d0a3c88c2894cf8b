"""What every registered benchmark must do, on a small tree in its released layout."""

from collections.abc import Callable
from pathlib import Path

import pytest

from codefilter.benchmarks import BENCHMARKS, get_benchmark
from codefilter.errors import SourceError, UsageError
from codefilter.types import content_hash
from tests.released_data import write_crosscodeeval, write_crosscodelongeval, write_fresh, write_repoeval

BUILDERS: dict[str, Callable[[Path], Path]] = {
    "fresh": write_fresh,
    "repoeval": write_repoeval,
    "crosscodeeval": write_crosscodeeval,
    "crosscodelongeval": write_crosscodelongeval,
}


def test_every_registered_benchmark_is_tested() -> None:
    assert set(BUILDERS) == set(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_released_layout_verifies(name: str, tmp_path: Path) -> None:
    loaded = get_benchmark(name).load(BUILDERS[name](tmp_path))
    assert loaded.name == name
    assert loaded.tasks
    assert not loaded.mismatches
    assert sum(file.num_records for file in loaded.files) == len(loaded.tasks)
    assert {task.repository for task in loaded.tasks} == {r.name for r in loaded.repositories}
    assert len({task.task_id for task in loaded.tasks}) == len(loaded.tasks)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_task_is_a_hole_in_a_file(name: str, tmp_path: Path) -> None:
    for task in get_benchmark(name).load(BUILDERS[name](tmp_path)).tasks:
        text = task.request.prefix + task.target + task.request.suffix
        assert task.provenance.content_hash == content_hash(text)
        assert task.request.prefix.count("\n") == task.provenance.start_line
        assert task.target.count("\n") + 1 == task.provenance.end_line - task.provenance.start_line
        assert task.level in get_benchmark(name).levels
        assert task.task_id.endswith(f"/{task.level}")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_loading_twice_gives_the_same(name: str, tmp_path: Path) -> None:
    folder = BUILDERS[name](tmp_path)
    assert get_benchmark(name).load(folder) == get_benchmark(name).load(folder)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_missing_data_is_an_error_with_a_hint(name: str, tmp_path: Path) -> None:
    source = get_benchmark(name)
    if name != "fresh":  # whose task list is always here
        with pytest.raises(SourceError) as nothing:
            source.load()
        assert "--data" in nothing.value.hint
        assert source.availability().task_files == ()
    with pytest.raises(SourceError, match="no task files"):
        source.load(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        source.load(tmp_path / "gone")
    assert source.availability().missing


def test_an_unknown_benchmark_is_named() -> None:
    with pytest.raises(UsageError, match="humaneval") as error:
        get_benchmark("humaneval")
    assert "repoeval" in error.value.hint

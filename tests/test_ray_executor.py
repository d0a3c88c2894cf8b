"""Builds and evaluations on a local Ray cluster: what one process makes, with workers killed midway.

Ray is 80 MB and not part of the development extra: without it these tests say so and are skipped.
"""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codefilter.cli import main
from codefilter.config import Settings
from codefilter.dataset.build import Progress, build_dataset
from codefilter.dataset.execution import LocalExecutor
from codefilter.dataset.records import ExampleRecord
from codefilter.dataset.sources import find_sources
from codefilter.dataset.storage import DatasetFolder, read_examples
from codefilter.errors import ModelError, ModelMissingError, UsageError
from codefilter.evaluation import LocalExecutor as LocalEvaluation
from codefilter.evaluation import TaskError, TaskGroup, TaskResult, evaluate, parse_arms
from codefilter.evaluation.storage import read_chunks, read_contexts, read_in_order
from codefilter.labeling import LabelOptions
from codefilter.lm.base import ModelIdentity
from codefilter.lm.fake import FakeLanguageModel
from codefilter.ray_workers import ModelWorker, RayWorkers
from tests import killed_evaluations
from tests.killed_builds import PLAN, SMALL
from tests.labelled_repositories import SHOP_FILES, WEATHER_FILES, write_repository
from tests.released_data import write_repoeval
from tests.test_evaluation import without_times

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

OPTIONS = LabelOptions(draft_tokens=3)
FAKE = replace(SMALL, model="fake:prompt_ms=0.02")
SLOW = Settings(model="fake:prompt_ms=0.1")


@pytest.fixture
def cluster() -> Iterator[None]:
    """Two cores of this machine."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'codefilter[ray]')")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Looking(ModelWorker):
    """Says which GPUs it sees."""

    def about(self) -> tuple[ModelIdentity, str]:
        return ModelIdentity("nothing", "0", "none"), "nothing"

    def gpus(self, item: int) -> str:
        del item
        return os.environ.get("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize(("gpus", "count", "expected"), [(2, 3, 3), (2, None, 2), (1, 4, 4), (0, 3, 3)])
def test_more_workers_than_there_is_of_anything_share_it(gpus: int, count: int | None, expected: int) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'codefilter[ray]')")
    ray.init(num_cpus=2, num_gpus=gpus, include_dashboard=False, log_to_driver=False)  # said to be there
    try:
        workers = RayWorkers(Looking, Settings(), count=count)
        assert len(set(workers.pids)) == expected
        seen = [workers._get(worker.gpus.remote(0)) for worker in workers._workers]
        assert {int(one) for one in seen if one} == set(range(gpus))
        workers.close()
    finally:
        ray.shutdown()


def numbers(folder: Path) -> dict[str, ExampleRecord]:
    records = list(read_examples(folder))
    assert len({record.example_id for record in records}) == len(records)
    nothing = replace(records[0].seconds, retrieve=0, draft=0, baseline=0, chunks=0, controls=0, all=0)
    return {record.example_id: replace(record, seconds=nothing) for record in records}


@pytest.mark.usefixtures("cluster")
def test_a_cluster_that_loses_a_worker_makes_the_same_dataset(tmp_path: Path) -> None:
    from codefilter.dataset.ray_executor import RayExecutor

    roots = [
        write_repository(tmp_path / name, files)
        for name, files in (("shop", SHOP_FILES), ("weather", WEATHER_FILES))
    ]
    sources = find_sources([str(root) for root in roots])
    alone = LocalExecutor(FakeLanguageModel(FAKE.model), FAKE, OPTIONS)
    build_dataset(sources, DatasetFolder(tmp_path / "alone"), alone, PLAN)

    executor = RayExecutor(FAKE, OPTIONS, workers=2)
    assert executor.description.endswith("2 Ray workers")
    victims = set(executor.workers.pids)
    assert len(victims) == 2
    assert os.getpid() not in victims

    def kill_one(progress: Progress) -> None:
        if progress.labelled == 3 and len(victims) == 2:
            os.kill(victims.pop(), signal.SIGKILL)

    build_dataset(sources, DatasetFolder(tmp_path / "cluster"), executor, PLAN, kill_one)
    assert len(victims) == 1, "no worker was killed"
    assert len(victims.intersection(executor.workers.pids)) == 1
    executor.close()
    assert numbers(tmp_path / "cluster") == numbers(tmp_path / "alone")
    assert len(numbers(tmp_path / "cluster")) == 12


@pytest.mark.usefixtures("cluster")
def test_a_cluster_that_loses_its_workers_has_the_same_results(tmp_path: Path) -> None:
    from codefilter.evaluation.ray_executor import RayExecutor

    (group,) = killed_evaluations.groups(tmp_path)
    (tmp_path / "empty").mkdir()
    groups = [group, TaskGroup("empty", tmp_path / "empty", (replace(group.tasks[0], task_id="lost"),))]
    arms = parse_arms(killed_evaluations.ARMS, SLOW)
    alone = evaluate(groups, LocalEvaluation(FakeLanguageModel(), arms), tmp_path / "alone")

    executor = RayExecutor(SLOW, arms, workers=2)
    assert executor.identity.sha256 == FakeLanguageModel().identity.sha256
    victims = set(executor.workers.pids)
    told: list[TaskResult | TaskError] = []

    def kill_all(result: TaskResult | TaskError) -> None:
        told.append(result)
        if len(told) == len(arms) + 1:  # one task is done and told, its worker is at work on the next
            for victim in victims:
                os.kill(victim, signal.SIGKILL)

    outcome = evaluate(groups, executor, tmp_path / "cluster", kill_all)
    assert len(told) == len({(result.task_id, result.arm) for result in told}) == 20
    assert not victims.intersection(executor.workers.pids)
    executor.close()
    assert [without_times(r) for r in outcome.results] == [without_times(r) for r in alone.results]
    assert outcome.errors == alone.errors
    assert {error.task_id for error in outcome.errors} == {"lost"}
    ids = [task.task_id for task in group.tasks]
    assert read_in_order(tmp_path / "cluster", ids, [arm.name for arm in arms]) == list(outcome.results)
    for read in (read_contexts, read_chunks):
        assert set(read(tmp_path / "cluster")) == set(read(tmp_path / "alone"))


class EndingWorker(ModelWorker):
    """What runs out of memory at some tasks."""

    def double(self, number: int) -> int:
        if number == 3:
            os._exit(1)
        return 2 * number


@pytest.mark.usefixtures("cluster")
def test_a_task_that_ends_every_worker_ends_the_run() -> None:
    workers = RayWorkers(EndingWorker, SLOW, count=1)
    done = []
    with pytest.raises(ModelError, match="ended 4 times at the same task") as caught:
        done += workers.run("double", iter(range(1, 6)), ahead=0)
    assert "--workers" in caught.value.hint
    workers.close()


@pytest.mark.usefixtures("cluster")
def test_the_errors_of_workers_are_their_own(tmp_path: Path) -> None:
    from codefilter.dataset.ray_executor import RayExecutor as RayLabelling
    from codefilter.evaluation.ray_executor import RayExecutor

    not_pulled, arms = Settings(model="smollm2-135m"), parse_arms("all", SLOW)
    for start in (
        lambda: RayLabelling(not_pulled, OPTIONS, workers=1),
        lambda: RayExecutor(not_pulled, arms, workers=1),
    ):
        with pytest.raises(ModelMissingError, match=r"^smollm2-135m is not") as caught:
            start()
        assert "codefilter models pull" in caught.value.hint

    (group,) = killed_evaluations.groups(tmp_path)
    gone = replace(group, root=tmp_path / "gone")
    with pytest.raises(UsageError, match="gone"):
        evaluate([gone], RayExecutor(SLOW, arms, workers=1), tmp_path / "out")


@pytest.mark.usefixtures("cluster")
def test_the_command_leaves_the_same_record_and_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, compared = write_repoeval(tmp_path / "data"), []
    for name, more in (("alone", []), ("cluster", ["--executor", "ray", "--workers", "2"])):
        arguments = ["evaluate", "repoeval", "--data", str(data), "--out", str(tmp_path / name)]
        assert main([*arguments, "--arms", "none,all,oracle:0.1", "--model", "fake", *more]) == 0
        capsys.readouterr()
        assert main(["compare", str(tmp_path / name), "--json"]) == 0
        compared.append(json.loads(capsys.readouterr().out))
    alone, cluster = (
        json.loads((tmp_path / name / "record.json").read_text()) for name in ("alone", "cluster")
    )
    assert cluster.pop("engine") == f"{alone.pop('engine')}, 2 Ray workers"
    assert without_cost(cluster) == without_cost(alone)
    assert without_cost(compared[0]) == without_cost(compared[1])
    assert len(alone["results"]) == 15
    for file in (tmp_path / "alone" / "predictions").iterdir():
        assert (tmp_path / "cluster" / "predictions" / file.name).read_text() == file.read_text()


def without_cost(value: Any) -> Any:
    """JSON without seconds, which depend on what the engine had read before, too."""
    if isinstance(value, list):
        return [without_cost(one) for one in value if not is_cost(one)]
    if isinstance(value, dict):
        return {name: without_cost(one) for name, one in value.items() if not is_cost(name)}
    return value


def is_cost(value: Any) -> bool:
    """Whether a field's name, or the metric of a comparison, is about seconds."""
    name = value.get("metric") if isinstance(value, dict) else value
    return isinstance(name, str) and ("seconds" in name or name == "reused_tokens")

"""The build on a local Ray cluster: the same dataset as one process makes, with a worker killed midway.

Ray is 80 MB and not part of the development extra: without it these tests say so and are skipped.
"""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from codefilter.dataset.build import Progress, build_dataset
from codefilter.dataset.execution import LocalExecutor
from codefilter.dataset.records import ExampleRecord
from codefilter.dataset.sources import find_sources
from codefilter.dataset.storage import DatasetFolder, read_examples
from codefilter.labeling import LabelOptions
from codefilter.lm.fake import FakeLanguageModel
from tests.killed_builds import PLAN, SMALL
from tests.labelled_repositories import SHOP_FILES, WEATHER_FILES, write_repository

OPTIONS = LabelOptions(draft_tokens=3)
FAKE = replace(SMALL, model="fake:prompt_ms=0.02")


def numbers(folder: Path) -> dict[str, ExampleRecord]:
    records = list(read_examples(folder))
    assert len({record.example_id for record in records}) == len(records)
    nothing = replace(records[0].seconds, retrieve=0, draft=0, baseline=0, chunks=0, controls=0, all=0)
    return {record.example_id: replace(record, seconds=nothing) for record in records}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_worker_makes_the_same_dataset(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'codefilter[ray]')")
    from codefilter.dataset.ray_executor import RayExecutor

    roots = [
        write_repository(tmp_path / name, files)
        for name, files in (("shop", SHOP_FILES), ("weather", WEATHER_FILES))
    ]
    sources = find_sources([str(root) for root in roots])
    alone = LocalExecutor(FakeLanguageModel(FAKE.model), FAKE, OPTIONS)
    build_dataset(sources, DatasetFolder(tmp_path / "alone"), alone, PLAN)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        executor = RayExecutor(FAKE, OPTIONS, workers=2)
        assert executor.description.endswith("2 Ray workers")
        victims = {ray.get(worker.pid.remote()) for worker in executor._workers}
        assert len(victims) == 2
        assert os.getpid() not in victims

        def kill_one(progress: Progress) -> None:
            if progress.labelled == 3 and len(victims) == 2:
                os.kill(victims.pop(), signal.SIGKILL)

        build_dataset(sources, DatasetFolder(tmp_path / "cluster"), executor, PLAN, kill_one)
        assert len(victims) == 1, "no worker was killed"
        still_there = {ray.get(worker.pid.remote()) for worker in executor._workers}
        assert len(still_there & victims) == 1
        executor.close()
    finally:
        ray.shutdown()
    assert numbers(tmp_path / "cluster") == numbers(tmp_path / "alone")
    assert len(numbers(tmp_path / "cluster")) == 12

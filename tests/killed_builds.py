"""Builds of a dataset that are killed (SIGKILL) at random points; run as a script by `test_dataset`.

In: a folder with the repositories ``shop`` and ``weather``, a seed. Every build runs in a child that kills
itself at one of its operations on the dataset's files (open, rename, remove), as counted by an audit hook; a
second child finishes the work. Out: one folder per trial, ``trial-N``, and how many builds were really
killed, on stdout.
"""

import os
import random
import signal
import sys
from pathlib import Path

from codefilter.config import Settings
from codefilter.dataset.build import BuildPlan, build_dataset
from codefilter.dataset.execution import LocalExecutor
from codefilter.dataset.sources import find_sources
from codefilter.dataset.storage import DatasetFolder
from codefilter.labeling import LabelOptions
from codefilter.lm.fake import FakeLanguageModel
from codefilter.types import TaskLevel
from tests.killed_children import in_child

TRIALS = 20
WATCHED = {"open", "os.rename", "os.remove"}
PLAN = BuildPlan(per_repository=6, tasks_per_round={TaskLevel.LINE: 2, TaskLevel.CHUNK: 1})
SMALL = Settings(prefix_tokens=120, suffix_tokens=40, cross_file_tokens=4000, num_candidates=3)


def build(root: Path, out: Path, keep_states: bool) -> None:
    """Build from the two repositories below the root."""
    sources = find_sources([str(root / "shop"), str(root / "weather")])
    options = LabelOptions(draft_tokens=3)
    executor = LocalExecutor(FakeLanguageModel(), SMALL, options, keep_states=keep_states)
    build_dataset(sources, DatasetFolder(out, keep_states=keep_states), executor, PLAN)


def run_child(root: Path, out: Path, kill_at: int | None, keep_states: bool) -> tuple[bool, int]:
    """Build in a child; (whether it was killed, operations that it did)."""
    done = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        if event in WATCHED and arguments and str(out) in str(arguments[0]):
            done += 1
            if done == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def work() -> int:
        sys.addaudithook(count)
        build(root, out, keep_states)
        return done

    return in_child(work)


def main(root: Path, seed: int) -> None:
    """Run all trials, every other one with hidden states."""
    operations = [
        run_child(root, root / "whole", None, False)[1],
        run_child(root, root / "whole-states", None, True)[1],
    ]
    points = [random.Random(seed + kind).sample(range(1, operations[kind] + 1), TRIALS) for kind in (0, 1)]
    kills = 0
    for number in range(TRIALS):
        out, keep_states = root / f"trial-{number}", number % 2 == 1
        kills += run_child(root, out, points[keep_states][number], keep_states)[0]
        run_child(root, out, None, keep_states)
    print(kills)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

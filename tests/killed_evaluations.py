"""Evaluations that are killed (SIGKILL) in the middle of a line; run as a script by `test_evaluation`.

In: an empty folder, a seed. Every run happens in a child that kills itself within one of its writes to the
run's files; a second child finishes. Out: one folder per trial, ``trial-N``, a ``whole`` one, and how many
runs were really killed, on stdout.
"""

import json
import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codefilter.config import Settings
from codefilter.evaluation import LocalExecutor, TaskGroup, evaluate, parse_arms
from codefilter.evaluation.storage import RunWriter
from codefilter.lm.fake import FakeLanguageModel
from codefilter.tasks import LineSpan, make_task
from codefilter.types import SourceFile, TaskLevel, content_hash
from tests.killed_children import in_child

TRIALS = 12
ARMS = "none,all,top-k:1,oracle:0.1"
APP = "".join(f"def part_{i}(values):\n    return combine_{i}(values, scale={i})\n\n\n" for i in range(4))
LIBRARY = "".join(f"def use_{i}():\n    return combine_{i}(values, scale={i})\n\n\n" for i in range(4))


def groups(root: Path) -> list[TaskGroup]:
    """One repository, four tasks."""
    repository = root / "repository"
    repository.mkdir(exist_ok=True)
    (repository / "app.py").write_text(APP)
    (repository / "library.py").write_text(LIBRARY)
    source = SourceFile("app.py", APP, "python", content_hash(APP))
    spans = [LineSpan(4 * i + 1, 4 * i + 2) for i in range(4)]
    return [
        TaskGroup("demo", repository, tuple(make_task("demo", "1", source, s, TaskLevel.LINE) for s in spans))
    ]


def run_child(root: Path, out: Path, kill_at: int | None) -> tuple[bool, int]:
    """Run in a child; (whether it was killed, writes that it did)."""
    done = 0
    append = RunWriter._append

    def counted(self: RunWriter, name: str, values: Mapping[str, Any]) -> None:
        nonlocal done
        done += 1
        if done == kill_at:
            with (out / name).open("a") as file:
                file.write(json.dumps(values)[: 1 + done * 7])
            os.kill(os.getpid(), signal.SIGKILL)
        append(self, name, values)

    def work() -> int:
        RunWriter._append = counted  # type: ignore[method-assign]
        arms = parse_arms(ARMS, Settings(model="fake"))
        evaluate(groups(root), LocalExecutor(FakeLanguageModel(), arms), out)
        return done

    return in_child(work)


def main(root: Path, seed: int) -> None:
    """Run all trials."""
    groups(root)
    _, writes = run_child(root, root / "whole", None)
    kills = 0
    for number, point in enumerate(random.Random(seed).sample(range(1, writes + 1), TRIALS)):
        out = root / f"trial-{number}"
        kills += run_child(root, out, point)[0]
        run_child(root, out, None)
    print(kills)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""Fresh, and the field's benchmarks as they were released: RepoEval, CrossCodeEval, CrossCodeLongEval.

In: their files in a folder. Out: a `Benchmark` of verified tasks. To add one: a `ReleasedBenchmark`
in a module beside this file, and a line in `BENCHMARKS`.
"""

from __future__ import annotations

from codefilter.benchmarks.base import (
    Availability,
    Benchmark,
    BenchmarkRepository,
    Mismatch,
    MismatchReason,
    TaskFile,
)
from codefilter.benchmarks.crosscodeeval import CrossCodeEval, CrossCodeLongEval
from codefilter.benchmarks.fresh import Fresh
from codefilter.benchmarks.loading import ReleasedBenchmark
from codefilter.benchmarks.repoeval import RepoEval
from codefilter.errors import UsageError

__all__ = [
    "BENCHMARKS",
    "Availability",
    "Benchmark",
    "BenchmarkRepository",
    "Mismatch",
    "MismatchReason",
    "TaskFile",
    "get_benchmark",
]

BENCHMARKS: dict[str, ReleasedBenchmark] = {
    source.name: source for source in (Fresh(), RepoEval(), CrossCodeEval(), CrossCodeLongEval())
}


def get_benchmark(name: str) -> ReleasedBenchmark:
    """A benchmark by its name; `UsageError` where there is none."""
    if name not in BENCHMARKS:
        raise UsageError(f"no benchmark {name!r}", hint=f"One of: {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[name]

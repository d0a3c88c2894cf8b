"""Arms against arms on the same tasks: differences with 95 % intervals, signs per repository, wins, losses.

In: results of runs. Out: `Comparison`s per benchmark, level and metric. Tasks of one repository are alike, so
with eight repositories or more whole repositories are drawn again (cluster bootstrap), and the interval
speaks for other repositories; with fewer, tasks are drawn again within each repository, and it speaks only
for other tasks of these; where a repository has fewer than five, tasks are drawn over all of them.
`Interval.method` says which. Notable: `scipy.stats.bootstrap` knows neither clusters nor strata, and both are
a multinomial draw of counts and one product of matrices, which numpy does. Of n units n - 1 are drawn and
weighted n / (n - 1) (Rao and Wu, 1988): drawing n makes the variance of small strata too small. The quantiles
are those of Student's t (the expanded percentile interval; Hesterberg, 2015): with ten repositories plain
97.5 % intervals would miss 6 % of the time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import special

from codefilter.evaluation.results import TaskResult

MIN_REPOSITORIES = 8  # from here on whole repositories are drawn again
MIN_TASKS = 5  # per repository to draw within it, and in all to have an interval
RESAMPLES = 10_000
CONFIDENCE = 0.95
ALL_LEVELS = "all"

_BLOCK = 1_000  # resamples at a time: memory is resamples × tasks of a repository
Floats = NDArray[np.float64]


class Method(StrEnum):
    """What an interval speaks for."""

    BY_REPOSITORY = "by repository"
    WITHIN_REPOSITORIES = "within repositories"
    OVER_TASKS = "over all tasks"
    NONE = "not at all: too few tasks"


@dataclass(frozen=True)
class Metric:
    """A figure of results: the sum of values over the sum of weights."""

    name: str
    unit: str  # for people
    value: Callable[[TaskResult], float | None]  # None: the result has none, and is left out
    weight: Callable[[TaskResult], float] = lambda result: 1.0
    higher_is_better: bool = True
    decimals: int = 1


def _percent(value: float | bool | None) -> float | None:
    return None if value is None else 100.0 * value


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "nats", "nats per token", lambda r: r.target_nats, lambda r: max(1.0, r.target_tokens), decimals=3
        ),
        Metric("em", "exact match, %", lambda r: _percent(r.exact_match)),
        Metric("es", "edit similarity, %", lambda r: r.edit_similarity),
        Metric("identifier_em", "identifier match, %", lambda r: _percent(r.identifier_exact_match)),
        Metric("identifier_f1", "identifier F1, %", lambda r: r.identifier_f1),
        Metric("valid", "valid in place, %", lambda r: _percent(r.valid_in_place)),
        Metric(
            "prompt_tokens",
            "prompt tokens",
            lambda r: float(r.prompt_tokens),
            higher_is_better=False,
            decimals=0,
        ),
        Metric(
            "cross_file_tokens",
            "cross-file tokens",
            lambda r: float(r.cross_file_tokens),
            higher_is_better=False,
            decimals=0,
        ),
        Metric(
            "first_token_seconds",
            "seconds to the first token",
            lambda r: r.first_token_seconds if r.prediction is not None else None,
            higher_is_better=False,
            decimals=2,
        ),
    )
}


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval, of 95 % where nothing else is said."""

    value: float
    low: float | None  # None: too few tasks for an interval
    high: float | None
    method: Method

    @property
    def excludes_zero(self) -> bool:
        """Zero lies outside."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def show_signed(self, decimals: int) -> str:
        """As a difference: ``+0.9 [-0.3, +2.2]``."""
        return f"{self.value:+.{decimals}f} {self.show_bounds(decimals)}".rstrip()

    def show_bounds(self, decimals: int) -> str:
        """``[-0.3, +2.2]``; empty where there are none."""
        if self.low is None or self.high is None:
            return ""
        return f"[{self.low:+.{decimals}f}, {self.high:+.{decimals}f}]"


@dataclass(frozen=True)
class Comparison:
    """One metric of one arm against the baseline, on the tasks that both have."""

    benchmark: str
    level: str  # `ALL_LEVELS` for all together
    metric: str
    arm: str
    baseline: str
    tasks: int
    repositories: int
    arm_value: Interval
    baseline_value: Interval
    difference: Interval  # arm less baseline
    wins: int  # tasks on which the arm is better: a higher value, or a lower one where lower is better
    ties: int
    losses: int
    repositories_better: int
    repositories_worse: int


def compare(
    results: Sequence[TaskResult],
    baseline: str,
    benchmark: str,
    metrics: Sequence[str] = tuple(METRICS),
    seed: int = 0,
    tests: int = 1,
) -> list[Comparison]:
    """Every arm, the baseline too, against the baseline, on each level and on all.

    Args:
        results: of one benchmark; at most one per task and arm.
        baseline: an arm's name.
        benchmark: its name.
        metrics: names in `METRICS`; those that no common task has are left out.
        seed: of the bootstrap; the same seed gives the same intervals.
        tests: figures that are judged together; each interval is then as much wider as keeps the chance that
            any of them misses its value at 5 % (Bonferroni): 97.5 % intervals for two.
    """
    by_arm: dict[str, dict[str, TaskResult]] = defaultdict(dict)
    for result in results:
        by_arm[result.arm][result.task_id] = result
    levels = list(dict.fromkeys(result.level for result in results))
    compared = []
    for level in [*levels, *([ALL_LEVELS] if len(levels) > 1 else [])]:
        for arm, rows in by_arm.items():
            pairs = [
                (rows[task_id], other)
                for task_id, other in sorted(by_arm.get(baseline, {}).items())  # any order: the same draws
                if task_id in rows and level in (other.level, ALL_LEVELS)
            ]
            for name in metrics:
                names = (benchmark, level, arm, baseline)
                found = _compare(METRICS[name], pairs, names, seed, confidence(tests))
                compared += [found] if found is not None else []
    return compared


def confidence(tests: int) -> float:
    """Of each interval, where so many figures are judged together: 0.95, 0.975, ... (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / tests


def _compare(
    metric: Metric,
    pairs: Sequence[tuple[TaskResult, TaskResult]],
    names: tuple[str, str, str, str],
    seed: int,
    confidence: float,
) -> Comparison | None:
    usable = [(a, b) for a, b in pairs if metric.value(a) is not None and metric.value(b) is not None]
    if not usable:
        return None
    benchmark, level, arm, baseline = names
    repositories = [a.repository for a, _ in usable]
    first = _columns(metric, [a for a, _ in usable])
    second = _columns(metric, [b for _, b in usable])
    sign = 1.0 if metric.higher_is_better else -1.0
    outcomes = Counter(np.sign(sign * (first[0] - second[0])).astype(int).tolist())
    better = worse = 0
    for repository in dict.fromkeys(repositories):
        rows = np.array([name == repository for name in repositories])
        gain = sign * (_ratio(first[:, rows]) - _ratio(second[:, rows]))
        better += gain > 0
        worse += gain < 0
    value, other, difference = intervals(first, second, repositories, seed, confidence)
    return Comparison(
        benchmark=benchmark,
        level=level,
        metric=metric.name,
        arm=arm,
        baseline=baseline,
        tasks=len(usable),
        repositories=len(set(repositories)),
        arm_value=value,
        baseline_value=other,
        difference=difference,
        wins=outcomes[1],
        ties=outcomes[0],
        losses=outcomes[-1],
        repositories_better=better,
        repositories_worse=worse,
    )


def intervals(
    first: Floats,
    second: Floats,
    repositories: Sequence[str],
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> tuple[Interval, Interval, Interval]:
    """Two ratios and their difference, each with its interval, from the same draws.

    Args:
        first: values and weights of the tasks, (2, tasks); the ratio is sum of values over sum of weights.
        second: those of the other arm, in the same order.
        repositories: of the tasks, (tasks,).
        seed: of the draws.
        confidence: of the intervals.
    """
    columns = np.concatenate((first, second))  # (4, tasks)
    strata, method = _strata(columns, repositories)
    value, other = _ratio(first), _ratio(second)
    if method is Method.NONE:
        return (
            Interval(value, None, None, method),
            Interval(other, None, None, method),
            Interval(value - other, None, None, method),
        )
    random = np.random.default_rng(seed)
    drawn = np.concatenate([_draw(strata, random, _BLOCK) for _ in range(RESAMPLES // _BLOCK)])  # (draws, 4)
    ratios, others = drawn[:, 0] / drawn[:, 1], drawn[:, 2] / drawn[:, 3]
    degrees_of_freedom = sum(stratum.shape[1] - 1 for stratum in strata)
    tail = special.ndtr(special.stdtrit(degrees_of_freedom, (1 - confidence) / 2))

    def interval(estimate: float, draws: Floats) -> Interval:
        low, high = np.quantile(draws, (tail, 1 - tail))
        return Interval(estimate, float(low), float(high), method)

    if np.array_equal(first, second):  # rounding in the product of matrices must not make a difference
        return interval(value, ratios), interval(value, ratios), Interval(0.0, 0.0, 0.0, method)
    return interval(value, ratios), interval(other, others), interval(value - other, ratios - others)


def _strata(columns: Floats, repositories: Sequence[str]) -> tuple[list[Floats], Method]:
    """What is drawn from: each stratum is (columns, units)."""
    names = np.array(repositories)
    parts = [columns[:, names == name] for name in dict.fromkeys(repositories)]
    if len(parts) >= MIN_REPOSITORIES:
        return [np.stack([part.sum(axis=1) for part in parts], axis=1)], Method.BY_REPOSITORY
    if min(part.shape[1] for part in parts) >= MIN_TASKS:
        return parts, Method.WITHIN_REPOSITORIES
    return [columns], Method.OVER_TASKS if len(repositories) >= MIN_TASKS else Method.NONE


def _draw(strata: Sequence[Floats], random: np.random.Generator, count: int) -> Floats:
    """Sums of the columns over units drawn with replacement, (count, columns)."""
    sums = np.zeros((count, strata[0].shape[0]))
    for stratum in strata:
        units = stratum.shape[1]
        draws = random.multinomial(units - 1, np.full(units, 1 / units), size=count)
        sums += draws @ stratum.T * (units / (units - 1))
    return sums


def _columns(metric: Metric, results: Sequence[TaskResult]) -> Floats:
    """Values and weights, (2, tasks)."""
    return np.array([[metric.value(r) for r in results], [metric.weight(r) for r in results]], np.float64)


def _ratio(columns: Floats) -> float:
    values, weights = columns.sum(axis=1)
    return float(values / weights) if weights else 0.0


def from_baseline(row: Comparison, rows: Sequence[Comparison]) -> str:
    """`` from 41.5``, the baseline's value on the same tasks, where these are fewer than others have."""
    whole = max(other.tasks for other in rows if other.metric == row.metric)
    return "" if row.tasks == whole else f" from {row.baseline_value.value:.{METRICS[row.metric].decimals}f}"


def fullest(rows: Sequence[Comparison]) -> Comparison:
    """The row of the most tasks, which the head of a table speaks of."""
    return max(rows, key=lambda row: row.tasks)


def other_method(row: Comparison, rows: Sequence[Comparison]) -> str:
    """``drawn over all tasks`` where an interval is not drawn as the head says; empty where it is."""
    method = row.difference.method
    return "" if method in (Method.NONE, fullest(rows).difference.method) else f"drawn {method}"


def group_by_benchmark(comparisons: Sequence[Comparison]) -> Mapping[tuple[str, str], list[Comparison]]:
    """By benchmark and level, in their order."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault((comparison.benchmark, comparison.level), []).append(comparison)
    return groups

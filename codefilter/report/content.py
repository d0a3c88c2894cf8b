"""What a report shows, as values for the template.

In: folders of runs, or their records, which have no tasks to look at. Out: `ReportContent`. Notable: a report
is for looking at what differs, so the tasks that the arms differ most on come first, and only so many are
shown; the tables are of all tasks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codefilter.benchmarks import BENCHMARKS
from codefilter.comparison import (
    ALL_LEVELS,
    METRICS,
    Comparison,
    compare,
    confidence,
    from_baseline,
    fullest,
    group_by_benchmark,
    other_method,
)
from codefilter.evaluation.results import ChunkText, TaskContext, TaskError, TaskResult
from codefilter.evaluation.runs import JoinedResults, Run, join_runs, read_run
from codefilter.evaluation.storage import read_chunks, read_contexts
from codefilter.evaluation.summary import summarise
from codefilter.filters.base import worth_showing
from codefilter.report.diffs import Span, diff
from codefilter.report.plots import draw_differences, draw_quality_against

_LINES_BEFORE = 20
_LINES_AFTER = 8


@dataclass(frozen=True)
class Cell:
    """One figure of the table."""

    value: str
    difference: str  # empty for the baseline
    bounds: str  # of the difference; empty where there are too few tasks
    method: str  # how these were drawn, where the caption names another way
    sure: bool  # zero lies outside the interval
    better: bool


@dataclass(frozen=True)
class Row:
    """One arm of the table."""

    arm: str
    notes: tuple[str, ...]  # tasks, where not all; `_shares_of_nothing`
    cells: tuple[Cell | None, ...]  # None: not measured
    outcome: str  # wins / ties / losses
    repositories: str


@dataclass(frozen=True)
class LevelTable:
    """One level of one benchmark."""

    level: str
    caption: str
    columns: tuple[str, ...]
    outcome_of: str  # the metric that wins are counted by
    rows: tuple[Row, ...]
    plots: Mapping[str, str]  # title → SVG


@dataclass(frozen=True)
class StageTable:
    """Where the time goes: mean seconds of every stage, of each arm."""

    stages: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]  # arm, seconds


@dataclass(frozen=True)
class ChunkView:
    """A candidate, and what the arms did with it."""

    place: str
    impact: str  # empty where no arm measured it
    text: str
    decisions: tuple[tuple[str, str, str], ...]  # arm, kept or dropped, why


@dataclass(frozen=True)
class ArmView:
    """What an arm wrote."""

    arm: str
    spans: tuple[Span, ...] | None  # None: only the likelihood was measured, or a record has no texts
    figures: str


@dataclass(frozen=True)
class TaskView:
    """One task to look at."""

    task_id: str
    summary: str
    prefix: str
    target: str
    suffix: str
    arms: tuple[ArmView, ...]
    chunks: tuple[ChunkView, ...]


@dataclass(frozen=True)
class BenchmarkSection:
    """One benchmark."""

    name: str
    facts: tuple[str, ...]
    caveats: tuple[str, ...]
    tables: tuple[LevelTable, ...]
    stages: StageTable
    differences: str  # SVG
    tasks: tuple[TaskView, ...]
    num_tasks: int
    without_texts: bool  # records only: there are no tasks to look at
    errors: tuple[TaskError, ...]


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page."""

    title: str
    sections: tuple[BenchmarkSection, ...]


def gather(
    folders: Sequence[Path], baseline: str | None, max_tasks: int, seed: int = 0, tests: int = 1
) -> ReportContent:
    """Read runs and work out what to show.

    Args:
        folders: of runs, or records.
        baseline: the arm that the others are held against; by default each benchmark's first.
        max_tasks: to look at, per benchmark.
        seed: of the bootstrap.
        tests: figures that are judged together; see `compare`.

    Raises:
        UsageError: a folder that holds no run, or runs that do not fit together.
    """
    joined = join_runs([read_run(folder) for folder in folders])
    sections = [_section(one, baseline, max_tasks, seed, tests) for one in joined]
    return ReportContent(", ".join(one.benchmark for one in joined), tuple(sections))


def _section(
    joined: JoinedResults, baseline: str | None, max_tasks: int, seed: int, tests: int
) -> BenchmarkSection:
    first = joined.choose_baseline(baseline)
    comparisons = compare(joined.results, first, joined.benchmark, seed=seed, tests=tests)
    groups = group_by_benchmark(comparisons)
    source = BENCHMARKS.get(joined.benchmark)
    return BenchmarkSection(
        name=joined.benchmark,
        facts=tuple(dict.fromkeys(fact for run in joined.runs for fact in _facts(run))),
        caveats=tuple(dict.fromkeys([*joined.notices, *(source.caveats if source is not None else ())])),
        tables=tuple(_table(level, rows, joined, tests) for (_, level), rows in groups.items()),
        stages=_stages(joined),
        differences=draw_differences(joined.results, first),
        tasks=tuple(_tasks(joined, max_tasks)),
        num_tasks=joined.tasks,
        without_texts=all(run.is_record for run in joined.runs),
        errors=joined.errors,
    )


def _facts(run: Run) -> list[str]:
    plan = run.plan
    settings = plan.settings
    return [
        f"model {plan.model.name}, sha256 {plan.model.sha256[:12]}, {plan.engine}",
        f"data {plan.data_sha256[:12]}, seed {plan.seed}, levels {plan.levels}",
        f"retriever {settings.retriever}, {settings.num_candidates or 'usual'} candidates",
        f"layout {settings.layout}, {settings.prefix_tokens} + {settings.suffix_tokens} in-file tokens, "
        f"{settings.cross_file_tokens} of other files, hole_lines {settings.hole_lines}",
        f"codefilter {plan.codefilter} {plan.commit}, {plan.machine}, {plan.metric_family} metrics",
    ]


def _table(level: str, rows: Sequence[Comparison], joined: JoinedResults, tests: int) -> LevelTable:
    measured = [name for name in METRICS if any(row.metric == name for row in rows)]
    quality = "es" if "es" in measured else "nats"
    first = fullest(rows)
    plots = {
        f"{METRICS[quality].unit} against {METRICS[cost].unit}": draw_quality_against(rows, quality, cost)
        for cost in ("prompt_tokens", "first_token_seconds")
    }
    return LevelTable(
        level=level,
        caption=(
            f"{first.tasks} tasks of {first.repositories} repositories; differences from {first.baseline} "
            f"with {100 * confidence(tests):g} % intervals, drawn {first.difference.method}"
        ),
        columns=tuple(METRICS[name].unit for name in measured),
        outcome_of=METRICS[quality].unit,
        rows=tuple(
            _row(
                {row.metric: row for row in rows if row.arm == arm},
                rows,
                measured,
                quality,
                _shares_of_nothing(
                    [r for r in joined.results if r.arm == arm and level in (r.level, ALL_LEVELS)],
                    with_texts=not any(run.is_record for run in joined.runs),
                ),
            )
            for arm in dict.fromkeys(row.arm for row in rows)
        ),
        plots={title: svg for title, svg in plots.items() if svg},
    )


def _stages(joined: JoinedResults) -> StageTable:
    summaries = summarise(joined.results, joined.arms)
    stages = tuple(dict.fromkeys(stage for summary in summaries for stage in summary.seconds))
    return StageTable(
        stages,
        tuple(
            (row.arm, tuple(f"{row.seconds[stage]:.3f}" if stage in row.seconds else "–" for stage in stages))
            for row in summaries
        ),
    )


def _shares_of_nothing(results: Sequence[TaskResult], *, with_texts: bool) -> list[str]:
    """How often the filter kept nothing, unless always or never, and nothing was written, if at all."""
    kept_nothing = sum(result.kept == 0 for result in results)
    empty = sum(result.abstained for result in results) if with_texts else 0
    shares = [f"nothing kept in {kept_nothing / len(results):.0%}"] if 0 < kept_nothing < len(results) else []
    return [*shares, *([f"nothing written in {empty / len(results):.0%}"] if empty else [])]


def _row(
    own: Mapping[str, Comparison],
    rows: Sequence[Comparison],
    measured: Sequence[str],
    quality: str,
    shares: Sequence[str],
) -> Row:
    some = next(iter(own.values()))
    tasks = fullest(rows).tasks
    fewer = "" if some.tasks == tasks else f"{some.tasks} tasks, against the same of {some.baseline}"
    is_baseline = some.arm == some.baseline
    counted = own.get(quality)
    return Row(
        arm=some.arm,
        notes=(*([fewer] if fewer else []), *shares),
        cells=tuple(_cell(own[name], rows) if name in own else None for name in measured),
        outcome="" if is_baseline or counted is None else f"{counted.wins}/{counted.ties}/{counted.losses}",
        repositories=(
            ""
            if is_baseline or counted is None
            else f"{counted.repositories_better}/{counted.repositories_worse}"
        ),
    )


def _cell(row: Comparison, rows: Sequence[Comparison]) -> Cell:
    metric = METRICS[row.metric]
    difference = row.difference
    return Cell(
        value=f"{row.arm_value.value:.{metric.decimals}f}",
        difference=(
            ""
            if row.arm == row.baseline
            else f"{difference.value:+.{metric.decimals}f}{from_baseline(row, rows)}"
        ),
        bounds="" if row.arm == row.baseline else difference.show_bounds(metric.decimals),
        method="" if row.arm == row.baseline else other_method(row, rows),
        sure=difference.excludes_zero,
        better=(difference.value > 0) == metric.higher_is_better,
    )


def _tasks(joined: JoinedResults, max_tasks: int) -> Iterable[TaskView]:
    contexts = {c.task_id: c for run in joined.runs for c in read_contexts(run.path)}
    chunks = {c.chunk_id: c for run in joined.runs for c in read_chunks(run.path)}
    by_task: dict[str, list[TaskResult]] = defaultdict(list)
    for result in joined.results:
        by_task[result.task_id].append(result)
    order = sorted(by_task, key=lambda task_id: (-_spread(by_task[task_id]), task_id))
    for task_id in [task_id for task_id in order if task_id in contexts][:max_tasks]:
        rows = sorted(by_task[task_id], key=lambda result: joined.arms.index(result.arm))
        yield _task(contexts[task_id], rows, chunks)


def _spread(results: Sequence[TaskResult]) -> float:
    """How much the arms differ on a task, in nats per token."""
    nats = [result.target_nats / max(1, result.target_tokens) for result in results]
    return max(nats) - min(nats)


def _task(context: TaskContext, results: Sequence[TaskResult], chunks: Mapping[str, ChunkText]) -> TaskView:
    best = max(results, key=lambda result: result.target_nats)
    return TaskView(
        task_id=context.task_id,
        summary=f"{_spread(results):.2f} nats per token between the arms, best {best.arm}",
        prefix="\n".join(context.prefix.split("\n")[-_LINES_BEFORE:]),
        target=context.target,
        suffix="\n".join(context.suffix.split("\n")[:_LINES_AFTER]),
        arms=tuple(_arm(result) for result in results),
        chunks=tuple(_chunks(results, chunks)),
    )


def _arm(result: TaskResult) -> ArmView:
    written = result.prediction
    similarity = (
        f"edit similarity {result.edit_similarity:.0f}, " if result.edit_similarity is not None else ""
    )
    return ArmView(
        arm=result.arm,
        spans=None if written is None or not result.target else tuple(diff(written, result.target)),
        figures=(
            f"{similarity}{result.target_nats / max(1, result.target_tokens):.3f} nats per token, "
            f"{result.kept} of {result.candidates} chunks, {result.cross_file_tokens} cross-file tokens"
        ),
    )


def _chunks(results: Sequence[TaskResult], texts: Mapping[str, ChunkText]) -> Iterable[ChunkView]:
    """What any arm kept or dropped among its first, in the order in which the arms have them."""
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    impacts: dict[str, float] = {}
    for result in results:
        for use in worth_showing(result.chunks):
            state = "in the prompt" if use.used else "over the budget" if use.keep else "dropped"
            label = "" if use.polarity == "unknown" else f" ({use.polarity})"
            found[use.chunk_id].append((result.arm, state + label, use.reason))
            if use.impact is not None:
                impacts[use.chunk_id] = use.impact
    for chunk_id, decisions in found.items():
        if chunk_id in texts:
            chunk = texts[chunk_id]
            place = f"{chunk.path}:{chunk.start_line + 1}-{chunk.end_line}"
            impact = f"{impacts[chunk_id]:+.2f} nats per token" if chunk_id in impacts else ""
            yield ChunkView(place, impact, chunk.text, tuple(decisions))

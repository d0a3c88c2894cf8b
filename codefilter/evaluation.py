"""Arms × tasks → predictions with their figures, one line of JSON each, and a record of the whole run.

In: tasks grouped by repository, arms, a model. Out: ``results.jsonl`` (every prediction) and ``record.json``
in a folder. Notable: a run that was killed goes on where it stopped; a torn last line is done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from codefilter.completion import Completer
from codefilter.config import Settings, check_setting
from codefilter.errors import UsageError
from codefilter.index import RepositoryIndex
from codefilter.likelihood import target_continuation
from codefilter.lm.base import LanguageModel
from codefilter.metrics import score
from codefilter.types import CompletionTask

RESULTS_FILE = "results.jsonl"
METRIC_FAMILY = "repocoder"


@dataclass(frozen=True)
class Arm:
    """One way to complete: a filter, and any other setting that differs from the run's."""

    name: str
    settings: Settings


def parse_arm(text: str, settings: Settings) -> Arm:
    """``all`` or ``top-k:3/layout=after-suffix/retriever=bm25`` → an arm."""
    filter_name, *changes = text.split("/")
    values: dict[str, object] = {"filter": filter_name}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise UsageError(f"{change!r} is not a setting", hint="Write FILTER/NAME=VALUE/NAME=VALUE.")
        current = getattr(settings, name, None)
        typed = int(value) if isinstance(current, int) and value.isdecimal() else value
        values[name] = check_setting(name, typed, f"the arm {text!r}")
    return Arm(text, replace(settings, **values))  # type: ignore[arg-type]  # checked above


@dataclass(frozen=True)
class TaskResult:
    """One prediction and its figures."""

    task_id: str
    repository: str
    level: str
    arm: str
    prediction: str | None  # None where only the likelihood was measured
    exact_match: float | None  # 0 or 1
    edit_similarity: float | None  # 0 to 100
    target_nats: float  # log-likelihood of the whole target
    target_tokens: int
    prompt_tokens: int
    cross_file_tokens: int
    candidates: int
    kept: int
    seconds: dict[str, float]


@dataclass(frozen=True)
class ArmSummary:
    """Means of one arm over tasks."""

    arm: str
    tasks: int
    exact_match: float | None  # percent; None where only the likelihood was measured
    edit_similarity: float | None
    nats_per_token: float  # all target nats over all target tokens
    nats_per_task: float
    prompt_tokens: float
    cross_file_tokens: float
    kept: float
    worse_than_first: float  # share of tasks whose target is less likely than under the first arm
    read_seconds: float
    write_seconds: float


def evaluate(
    repositories: Sequence[tuple[Path, Sequence[CompletionTask]]],
    arms: Sequence[Arm],
    model: LanguageModel,
    folder: Path,
    progress: Callable[[TaskResult], object] = lambda result: None,
    *,
    write: bool = True,
) -> list[TaskResult]:
    """Run every arm on every task that has no result in the folder yet; all results, in task order.

    Without `write` nothing is generated and only the target's likelihood is measured: several times faster,
    and the most sensitive figure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULTS_FILE
    done = {(result.task_id, result.arm): result for result in read_results(path)}
    with path.open("a", encoding="utf-8") as file:
        for root, tasks in repositories:
            missing = [(t, a) for t in tasks for a in arms if (t.task_id, a.name) not in done]
            if not missing:
                continue
            completers = _completers(root, arms, model)
            for task, arm in missing:
                result = run_task(task, arm, completers[arm.name], model, write=write)
                file.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")
                file.flush()
                done[task.task_id, arm.name] = result
                progress(result)
    return [done[t.task_id, a.name] for _, tasks in repositories for t in tasks for a in arms]


def _completers(root: Path, arms: Sequence[Arm], model: LanguageModel) -> dict[str, Completer]:
    chunkers = {arm.settings.chunker for arm in arms}
    indexes = {chunker: RepositoryIndex.open(root, chunker=chunker) for chunker in chunkers}
    return {arm.name: Completer(indexes[arm.settings.chunker], model, arm.settings) for arm in arms}


def run_task(
    task: CompletionTask, arm: Arm, completer: Completer, model: LanguageModel, *, write: bool = True
) -> TaskResult:
    """Complete one task and score it; the target's likelihood is taken under the very same prompt."""
    completion = completer.complete(task.request) if write else None
    prepared = completion or completer.prepare(task.request)
    prompt = prepared.prompt
    continuation = target_continuation(prompt, task.target, model.tokenizer)
    likelihood = model.log_likelihoods(prompt.token_ids, [continuation])[0]
    scores = score(METRIC_FAMILY, completion.text, task) if completion is not None else None
    return TaskResult(
        task_id=task.task_id,
        repository=task.repository,
        level=task.level.value,
        arm=arm.name,
        prediction=completion.text if completion is not None else None,
        exact_match=float(scores.exact_match) if scores is not None else None,
        edit_similarity=scores.edit_similarity if scores is not None else None,
        target_nats=likelihood.total_nats,
        target_tokens=likelihood.num_tokens,
        prompt_tokens=prompt.num_tokens,
        cross_file_tokens=prompt.num_cross_file_tokens,
        candidates=len(prepared.decisions),
        kept=len(prompt.chunk_ids),
        seconds=prepared.stage_seconds,
    )


def read_results(path: Path) -> Iterator[TaskResult]:
    """Results of an earlier run; a last line that was cut off by a kill is removed from the file."""
    if not path.exists():
        return
    whole = path.read_bytes()
    complete = whole[: whole.rfind(b"\n") + 1]
    if complete != whole:
        path.write_bytes(complete)
    names = [field.name for field in fields(TaskResult)]
    for number, line in enumerate(complete.decode("utf-8").split("\n")[:-1], start=1):
        try:
            values = json.loads(line)
            yield TaskResult(**{name: values[name] for name in names})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path}, line {number} is not a result: {error}", hint="Give another --out folder."
            ) from error


def summarise(results: Sequence[TaskResult], arms: Sequence[Arm]) -> list[ArmSummary]:
    """Means per arm; the first arm is the one that the others are compared with."""
    by_arm = {arm.name: [r for r in results if r.arm == arm.name] for arm in arms}
    first = {r.task_id: r.target_nats for r in by_arm[arms[0].name]}
    summaries = []
    for name, rows in by_arm.items():
        if not rows:
            continue
        summaries.append(
            ArmSummary(
                arm=name,
                tasks=len(rows),
                exact_match=_mean([100 * r.exact_match for r in rows if r.exact_match is not None]),
                edit_similarity=_mean([r.edit_similarity for r in rows if r.edit_similarity is not None]),
                nats_per_token=sum(r.target_nats for r in rows) / sum(r.target_tokens for r in rows),
                nats_per_task=float(np.mean([r.target_nats for r in rows])),
                prompt_tokens=float(np.mean([r.prompt_tokens for r in rows])),
                cross_file_tokens=float(np.mean([r.cross_file_tokens for r in rows])),
                kept=float(np.mean([r.kept for r in rows])),
                worse_than_first=float(np.mean([r.target_nats < first[r.task_id] for r in rows])),
                read_seconds=float(np.mean([r.seconds.get("read", 0.0) for r in rows])),
                write_seconds=float(np.mean([r.seconds.get("write", 0.0) for r in rows])),
            )
        )
    return summaries


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None

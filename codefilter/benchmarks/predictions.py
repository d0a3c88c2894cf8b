"""Predictions that other tools wrote, in the forms of the released scripts.

In: a JSONL file, and the benchmark's tasks where the lines have no truth of their own. Out: predictions
with their tasks, and a reason for every line that cannot be scored. The forms, told apart line by line:

* RepoCoder: ``{"prompt", "choices": [{"text"}], "metadata": {...}}``, a record of RepoEval; the first choice
  counts, against the record's own truth, or against the benchmark's task at that place;
* CrossCodeEval and Repoformer: ``{"task_id", "pred"}``; the truth is the benchmark's;
* this project: RepoCoder's with ``pred``, and ``prompt_ends_in_line`` in the metadata
  (`codefilter.evaluation.exporting`), or ``{"task_id", "prediction"}`` with ``target``, perhaps ``prompt``,
  ``level``, ``language``; without a target, the truth is the benchmark's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codefilter.benchmarks.base import Mismatch, MismatchReason
from codefilter.benchmarks.records import SHARED_ID, RawLine, WrongFormError, read_lines
from codefilter.languages import language_of
from codefilter.types import CompletionRequest, CompletionTask, Provenance, TaskLevel


@dataclass(frozen=True)
class Prediction:
    """What a tool wrote for a task."""

    line: int  # 0-based line of the file
    text: str
    task: CompletionTask


@dataclass(frozen=True)
class PredictionFile:
    """The lines of a file that can be scored, and the others."""

    predictions: tuple[Prediction, ...]
    malformed: tuple[Mismatch, ...]
    notices: tuple[str, ...] = ()  # what the tool says of its predictions, in their metadata


class References:
    """Tasks by id or by place; ids with the level behind them, as they are here, or without, as released."""

    def __init__(self, tasks: Sequence[CompletionTask] = (), level: TaskLevel | None = None) -> None:
        self.tasks = [task for task in tasks if level in (None, task.level)]
        self._found: dict[object, list[CompletionTask]] = defaultdict(list)
        for task in self.tasks:
            for name in {task.task_id, task.task_id.removesuffix(f"/{task.level}")}:
                self._found[name].append(task)
            for line in {task.provenance.start_line, released_line(task)}:
                self._found[task.repository, task.request.path, line].append(task)

    def by_id(self, task_id: str) -> CompletionTask:
        """The task of that id; `WrongFormError` where there is none, or several levels have one."""
        return _only(self._found[task_id], f"task {task_id!r}")

    def by_place(self, repository: str, path: str, line: int, target: str) -> CompletionTask:
        """The task with that target on that line; errors as for `by_id`."""
        here = self._found[repository, path, line]
        same = [task for task in here if task.target.splitlines() == target.splitlines()]
        return _only(same, f"task with this truth at line {line + 1} of {repository}/{path}")


def released_line(task: CompletionTask) -> int:
    """The 0-based line that a target begins on as RepoCoder counts: `str.splitlines` has more line ends."""
    return len(f"{task.request.prefix}x".splitlines()) - 1


def _only(tasks: list[CompletionTask], description: str) -> CompletionTask:
    if len(tasks) == 1:
        return tasks[0]
    if not tasks:
        raise WrongFormError(f"no {description} in the benchmark (or no benchmark was named)")
    levels = ", ".join(sorted(task.level for task in tasks))
    raise WrongFormError(f"a {description} is there on several levels ({levels}): choose one with --level")


def read_predictions(
    path: Path,
    references: References,
    *,
    level: TaskLevel | None = None,
    needs_prompt: Callable[[CompletionTask], bool] = lambda _: False,
) -> PredictionFile:
    """Read a file of predictions; each task counts once, the first time.

    Args:
        path: the JSONL file.
        references: the benchmark's tasks; may be empty for forms that bring the truth with them.
        level: level of all predictions whose line does not say it.
        needs_prompt: whether a task cannot be scored without its prompt.

    Raises:
        SourceError: The file cannot be read as text.
    """
    predictions: list[Prediction] = []
    malformed: list[Mismatch] = []
    seen: set[str] = set()
    notices: dict[str, None] = {}
    for line in read_lines(path):
        if isinstance(line, Mismatch):
            malformed.append(line)
            continue
        try:
            prediction = _prediction(line, references, level)
        except WrongFormError as error:
            malformed.append(Mismatch(line.file, line.line, "", MismatchReason.WRONG_FORM, str(error)))
            continue
        task = prediction.task
        if task.task_id in seen:
            reason, detail = MismatchReason.DUPLICATE, "only the first prediction counts"
        elif needs_prompt(task) and not task.request.prefix:
            reason, detail = MismatchReason.WRONG_FORM, "it has no prompt, which the metric needs"
        else:
            predictions.append(prediction)
            notices |= dict.fromkeys(_notices(line))
            if not task.task_id.endswith(SHARED_ID):
                seen.add(task.task_id)
            continue
        malformed.append(Mismatch(line.file, line.line, task.task_id, reason, detail))
    return PredictionFile(tuple(predictions), tuple(malformed), tuple(notices))


def _notices(line: RawLine) -> list[str]:
    metadata = line.values.get("metadata")
    notice = metadata.get("notice") if isinstance(metadata, dict) else None
    return [notice] if isinstance(notice, str) else []


def _prediction(line: RawLine, references: References, level: TaskLevel | None) -> Prediction:
    values = line.values
    if "choices" in values and not ("pred" in values and references.tasks):
        return _repocoder(line, references, level)
    if "pred" in values:
        return Prediction(line.line, line.text("pred"), references.by_id(line.text("task_id")))
    if "prediction" in values:
        task_id, text = line.text("task_id"), line.text("prediction")
        if "target" not in values:
            return Prediction(line.line, text, references.by_id(task_id))
        prompt = line.text("prompt") if "prompt" in values else ""
        language = line.text("language") if "language" in values else "python"
        own_level = _level(line.text("level")) if "level" in values else _level_of_id(task_id) or level
        return Prediction(line.line, text, _task(task_id, prompt, line.text("target"), language, own_level))
    raise WrongFormError("it has none of choices, pred, prediction")


def _repocoder(line: RawLine, references: References, level: TaskLevel | None) -> Prediction:
    choices = line.values["choices"]
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise WrongFormError("choices is not a list of objects")
    text = RawLine(line.file, line.line, choices[0]).text("text")
    metadata = line.section("metadata")
    target, path = metadata.text("ground_truth"), metadata.texts("fpath_tuple")
    if references.tasks:
        start = metadata.number("line_no", "lineno")
        return Prediction(line.line, text, references.by_place(path[0], "/".join(path[1:]), start, target))
    line_end = "" if metadata.values.get("prompt_ends_in_line") is True else "\n"  # released prompts lack it
    prompt = line.text("prompt") + line_end if "prompt" in line.values else ""
    own_level = _level(metadata.text("level")) if "level" in metadata.values else level
    own_level = TaskLevel.FUNCTION if "function_name" in metadata.values else own_level
    task = _task(metadata.text("task_id"), prompt, target, language_of(path[-1]), own_level)
    return Prediction(line.line, text, task)


def _task(task_id: str, prompt: str, target: str, language: str, level: TaskLevel | None) -> CompletionTask:
    """A task that can be scored, and nothing else."""
    if level is None:
        raise WrongFormError("its level is not known: name it with --level")
    repository = task_id.split("/")[0]
    return CompletionTask(
        task_id=task_id,
        repository=repository,
        request=CompletionRequest("", prompt, "", language),
        target=target,
        level=level,
        provenance=Provenance(repository, "", "", 0, 0, ""),
    )


def _level(name: str) -> TaskLevel:
    try:
        return TaskLevel(name)
    except ValueError:
        raise WrongFormError(f"there is no level {name!r}") from None


def _level_of_id(task_id: str) -> TaskLevel | None:
    last = task_id.rsplit("/", 1)[-1]
    return TaskLevel(last) if last in set(TaskLevel) else None

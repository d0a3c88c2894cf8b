"""The loop: every arm on every task, resumable, task by task.

In: groups of tasks, arms, a model, a folder. Out: an `Outcome`, and the folder's files. Notable: all arms of
a task run one after the other, so that the engine's keys and values of the in-file text serve them all where
the layout puts it first; what a prompt leads to is remembered by the prompt's tokens for the task, across a
restart too, and is never computed twice. An error of one task is kept, and the run goes on. Left to right,
not only the prompt has no text behind the hole: retrieval and filter see none either (`_request_of`).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codefilter.completion import Completer, PreparedPrompt
from codefilter.errors import CancelledError, CodeFilterError, UsageError
from codefilter.evaluation.arms import Arm, is_postprocessed
from codefilter.evaluation.measuring import PromptMemory
from codefilter.evaluation.results import ChunkText, TaskContext, TaskError, TaskResult
from codefilter.evaluation.selection import TaskGroup
from codefilter.evaluation.storage import RunWriter
from codefilter.index import RepositoryIndex
from codefilter.lm.base import LanguageModel
from codefilter.prompts.formats import get_format
from codefilter.strategies import get_strategy
from codefilter.types import Completion, CompletionRequest, CompletionTask

LEFT_TO_RIGHT = "left-to-right"  # the layout that shows no suffix, whatever the model could read


@dataclass(frozen=True)
class Outcome:
    """What a run did, in task order."""

    results: tuple[TaskResult, ...]
    errors: tuple[TaskError, ...]
    num_left: int = 0  # task × arm that the deadline did not allow


def evaluate(
    groups: Sequence[TaskGroup],
    arms: Sequence[Arm],
    model: LanguageModel,
    folder: Path,
    progress: Callable[[TaskResult | TaskError], object] = lambda result: None,
    *,
    write: bool = True,
    deadline: float | None = None,
) -> Outcome:
    """Run every arm on every task that has no result in the folder yet.

    Raises:
        UsageError: an arm that cannot be run with this model, or a folder with something else in it.

    Args:
        groups: the tasks.
        arms: names must differ.
        model: completes, and reads for filters.
        folder: a run's folder; that it is the same run, `records.begin_run` sees to.
        progress: told of every result and error.
        write: generate; otherwise only the target's likelihood is measured: several times faster, and the
            most sensitive figure.
        deadline: `time.monotonic` after which no further task is begun.
    """
    errors: list[TaskError] = []
    with RunWriter(folder) as writer:
        for group in groups:
            missing = [(t, a) for t in group.tasks for a in arms if (t.task_id, a.name) not in writer.done]
            if not missing or (deadline is not None and time.monotonic() > deadline):
                continue
            runner = _GroupRunner(group, arms, model, writer, write=write)
            for task in dict.fromkeys(task for task, _ in missing):
                if deadline is not None and time.monotonic() > deadline:
                    break
                for result in runner.run(task, [arm for other, arm in missing if other is task]):
                    if isinstance(result, TaskError):
                        errors.append(result)
                    progress(result)
        done = writer.done
    wanted = [(task.task_id, arm.name) for group in groups for task in group.tasks for arm in arms]
    results = tuple(done[key] for key in wanted if key in done)
    return Outcome(results, tuple(errors), len(wanted) - len(results) - len(errors))


class _GroupRunner:
    """The tasks of one repository."""

    def __init__(
        self, group: TaskGroup, arms: Sequence[Arm], model: LanguageModel, writer: RunWriter, *, write: bool
    ) -> None:
        self._group = group
        self._model = model
        self._writer = writer
        self._write = write
        self._completers: Mapping[str, Completer] | CodeFilterError
        self._target = ""  # of the task at work
        try:
            indexes = {chunker: _open_index(group, chunker) for chunker in {a.settings.chunker for a in arms}}
            self._completers = {
                arm.name: Completer(
                    indexes[arm.settings.chunker], model, arm.settings, truth_of=lambda _: self._target
                )
                for arm in arms
            }
        except UsageError:
            raise  # wrong for every task
        except CodeFilterError as error:
            self._completers = error

    def run(self, task: CompletionTask, arms: Sequence[Arm]) -> Iterator[TaskResult | TaskError]:
        """One task under some arms; what happens is kept, then told."""
        finished = {
            result.prompt_id: result
            for result in self._writer.results_of(task.task_id)
            if not is_postprocessed(result.arm)
        }
        memory = PromptMemory(task, self._model, finished)
        self._target = task.target
        for arm in arms:
            try:
                if isinstance(self._completers, CodeFilterError):
                    raise self._completers
                result = self._run_arm(task, arm, self._completers[arm.name], memory)
            except (CancelledError, UsageError):
                raise
            except (CodeFilterError, RuntimeError, MemoryError) as error:  # torch's "out of memory" too
                failed = TaskError(task.task_id, arm.name, type(error).__name__, str(error))
                self._writer.add_error(failed)
                gc.collect()
                yield failed
            else:
                self._writer.add_result(result)
                yield result

    def _run_arm(
        self, task: CompletionTask, arm: Arm, completer: Completer, memory: PromptMemory
    ) -> TaskResult:
        def write(request: CompletionRequest, prepared: PreparedPrompt) -> Completion:
            return memory.completion(request, prepared, completer)

        request = self._request_of(task, arm)
        prepared = get_strategy(arm.strategy).prepare(completer, request, write)
        self._writer.add_context(_context(task, prepared))
        for decision in prepared.decisions:
            chunk = decision.candidate.chunk
            self._writer.add_chunk(
                ChunkText(
                    chunk.chunk_id, task.repository, chunk.path, chunk.start_line, chunk.end_line, chunk.text
                )
            )
        return memory.result(arm, request, prepared, completer, write=self._write)

    def _request_of(self, task: CompletionTask, arm: Arm) -> CompletionRequest:
        """What an arm is asked: left to right, the file ends at the hole (RepoEval's original protocol).

        The task itself keeps its suffix, for its truth and metrics.
        """
        identity = self._model.identity
        row = get_format(identity.family, self._model.tokenizer)
        reads_suffix = row.fills_in_the_middle and arm.settings.layout != LEFT_TO_RIGHT
        return task.request if reads_suffix else replace(task.request, suffix="")


def _open_index(group: TaskGroup, chunker: str) -> RepositoryIndex | None:
    """The repository's index without the files that hold answers."""
    if group.root is None:
        return None
    index = RepositoryIndex.open(group.root, chunker=chunker)
    for path in group.excluded_paths:
        index.remove_file(path)
    return index


def _context(task: CompletionTask, prepared: PreparedPrompt) -> TaskContext:
    in_file = prepared.in_file
    return TaskContext(
        task_id=task.task_id,
        repository=task.repository,
        path=task.request.path,
        language=task.request.language,
        level=task.level.value,
        start_line=task.provenance.start_line,
        end_line=task.provenance.end_line,
        prefix_start_line=in_file.start_line,
        prefix=in_file.prefix + in_file.typed,
        suffix=in_file.suffix,
        target=task.target,
    )

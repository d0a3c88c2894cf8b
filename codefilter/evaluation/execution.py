"""Who completes: this process, or something that has many.

In: work items (a task, the arms that it lacks). Out: what is to be kept of them. An executor never writes:
one process alone keeps the run's folder.
Notable: all arms of a task run one after the other, so that the engine's keys and values of the in-file text
serve them all where the layout puts it first; what a prompt leads to is remembered by the prompt's tokens for
the task, across a restart too, and is never computed twice. Left to right, not only the prompt has no text
behind the hole: retrieval and filter see none either (`_request_of`).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from codefilter.completion import Completer, PreparedPrompt
from codefilter.errors import CancelledError, CodeFilterError, SourceError, UsageError
from codefilter.evaluation.arms import Arm, is_postprocessed
from codefilter.evaluation.measuring import PromptMemory
from codefilter.evaluation.results import ChunkText, Finding, TaskContext, TaskError, TaskResult
from codefilter.evaluation.selection import TaskGroup
from codefilter.index import RepositoryIndex
from codefilter.lm.base import LanguageModel, ModelIdentity
from codefilter.metrics import METRIC_FAMILY, writes_on
from codefilter.prompts.formats import get_format
from codefilter.strategies import get_strategy
from codefilter.types import Completion, CompletionRequest, CompletionTask, SourceFile

LEFT_TO_RIGHT = "left-to-right"  # the layout that shows no suffix, whatever the model could read


@dataclass(frozen=True)
class WorkItem:
    """One task to complete."""

    group: TaskGroup  # its repository; the group's tasks are left out
    task: CompletionTask
    arms: tuple[str, ...]  # those without a result
    finished: tuple[TaskResult, ...]  # of its other arms


class Executor(Protocol):
    """Something that completes."""

    @property
    def identity(self) -> ModelIdentity:
        """The model's."""

    @property
    def description(self) -> str:
        """Engine, device, dtype, for people."""

    @property
    def arms(self) -> Sequence[Arm]:
        """What it can complete with."""

    def run(self, items: Iterator[WorkItem]) -> Iterator[Finding]:
        """Complete items; the next one is taken when there is somebody to do it.

        A result or error comes after the context and the chunks that belong to it.
        """


class TaskWorker:
    """Completes one item after the other; keeps the indexes of the last repository open."""

    def __init__(self, model: LanguageModel, arms: Sequence[Arm], *, write: bool, family: str) -> None:
        self._model = model
        self._arms = {arm.name: arm for arm in arms}
        self._write = write
        self._family = family
        self._group: TaskGroup | None = None
        self._completers: Mapping[str, Completer] | CodeFilterError
        self._target = ""  # of the task at work

    def run(self, item: WorkItem) -> Iterator[Finding]:
        """One task under its arms; an arm that fails does not stop the others.

        Raises:
            UsageError: what is wrong for every task.
        """
        if item.group != self._group or item.group.root is None:
            self._completers = self._open(item.group, item.task.other_files)
            self._group = item.group
        finished = {r.prompt_id: r for r in item.finished if not is_postprocessed(r.arm)}
        memory = PromptMemory(item.task, self._model, finished, self._family)
        self._target = item.task.target
        for name in item.arms:
            try:
                yield from self._run_arm(item.task, self._arms[name], memory)
            except (CancelledError, UsageError):
                raise
            except (CodeFilterError, RuntimeError, MemoryError) as error:  # torch's "out of memory" too
                failed = TaskError(item.task.task_id, name, type(error).__name__, str(error))
                gc.collect()
                yield failed

    def _open(
        self, group: TaskGroup, other_files: Sequence[SourceFile]
    ) -> Mapping[str, Completer] | CodeFilterError:
        """What completes in a repository under each arm, or why nothing does."""
        arms = self._arms.values()
        chunkers = {arm.settings.chunker for arm in arms}
        try:
            indexes = {chunker: open_index(group, chunker, other_files) for chunker in chunkers}
            return {
                arm.name: Completer(
                    indexes[arm.settings.chunker],
                    self._model,
                    arm.settings,
                    truth_of=lambda _: self._target,
                )
                for arm in arms
            }
        except UsageError:
            raise  # wrong for every task
        except CodeFilterError as error:
            return error

    def _run_arm(self, task: CompletionTask, arm: Arm, memory: PromptMemory) -> Iterator[Finding]:
        if isinstance(self._completers, CodeFilterError):
            raise self._completers
        completer = self._completers[arm.name]

        def write(request: CompletionRequest, prepared: PreparedPrompt) -> Completion:
            return memory.completion(request, prepared, completer)

        request = self._request_of(task, arm)
        prepared = get_strategy(arm.strategy).prepare(completer, request, write)
        yield _context(task, prepared)
        for decision in prepared.decisions:
            chunk = decision.candidate.chunk
            yield ChunkText(
                chunk.chunk_id, task.repository, chunk.path, chunk.start_line, chunk.end_line, chunk.text
            )
        yield memory.result(arm, request, prepared, completer, write=self._write)

    def _request_of(self, task: CompletionTask, arm: Arm) -> CompletionRequest:
        """What an arm is asked: left to right, the file ends at the hole (RepoEval's original protocol).

        The task itself keeps its suffix, for its truth and metrics. Where these cut a prediction by a rule of
        their own, the model is not stopped at the truth's number of lines.
        """
        request = task.request
        row = get_format(self._model.identity.family, self._model.tokenizer)
        if not row.fills_in_the_middle or arm.settings.layout == LEFT_TO_RIGHT:
            request = replace(request, suffix="")
        return replace(request, max_lines=None) if writes_on(self._family, task) else request


class LocalExecutor:
    """This process, with a loaded model."""

    def __init__(
        self,
        model: LanguageModel,
        arms: Sequence[Arm],
        *,
        write: bool = True,
        family: str = METRIC_FAMILY,
    ) -> None:
        """Make an executor.

        Args:
            model: completes, and reads for filters.
            arms: names must differ.
            write: generate; otherwise only the target's likelihood is measured: several times faster, and
                the most sensitive figure.
            family: by whose rules what was written ends and is judged; see `codefilter.metrics`.
        """
        self.identity = model.identity
        self.description = model.description
        self.arms = tuple(arms)
        self._model = model
        self._write = write
        self._family = family

    def run(self, items: Iterator[WorkItem]) -> Iterator[Finding]:
        """See `Executor.run`; in the items' order, each finding as soon as it is there."""
        worker = TaskWorker(self._model, self.arms, write=self._write, family=self._family)
        return chain.from_iterable(map(worker.run, items))


def open_index(
    group: TaskGroup, chunker: str, other_files: Sequence[SourceFile] = ()
) -> RepositoryIndex | None:
    """The repository's index without files that hold answers; where it is not here, one of `other_files`."""
    if group.root is None:
        return _index_of(group.name, other_files, chunker) if other_files else None
    index = RepositoryIndex.open(group.root, chunker=chunker)
    for path in group.excluded_paths:
        index.remove_file(path)
    return index


def _index_of(repository: str, files: Sequence[SourceFile], chunker: str) -> RepositoryIndex | None:
    """An index of nothing but some texts, in memory; None where none of them is what a scan would read.

    Raises:
        SourceError: they cannot be laid out as files.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder, repository)
        for file in files:
            path = root / file.path
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(file.text, encoding="utf-8", errors="replace")
            except OSError as error:  # one file has the path of another's folder, for instance
                raise SourceError(f"{file.path} cannot be laid out beside the others: {error}") from error
        try:
            with RepositoryIndex.open(root, chunker=chunker, cache_dir=Path(folder, "index")) as index:
                return index
        except SourceError:
            return None


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

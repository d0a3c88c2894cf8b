"""Worker processes, which are not waited for once they are dead.

In: a function and tasks. Out: results as they are ready, and which tasks a worker died of.

Notable: every worker has a pipe of its own, whose other end nobody else holds, so that a worker that is
killed, even in the middle of an answer, is an end of file here. In a pool with one queue for all
(`concurrent.futures`) the rest of that answer, or a lock that the dead one held, is waited for without end.
Workers are fresh interpreters ("spawn"), because forking a process that has threads or a model loaded is not
safe.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

_GIVEN_AHEAD = 2  # tasks that a worker has, so that it does not wait for the next
_MOST_DEATHS = 8  # with more, there is no point in new workers
_JOIN_SECONDS = 5.0
_END_SECONDS = 0.5

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkersEndedError(Exception):
    """Workers could not start, or too many died; the message says why."""


@dataclass(frozen=True)
class Death(Generic[Task]):
    """A worker died while it had a task, which nobody has done; the others go on."""

    task: Task
    how: str


class Workers(Generic[Task, Result]):
    """Processes that do tasks. `add` may be called while `results` are read."""

    def __init__(self, function: Callable[[Task], Result], number: int) -> None:
        """Start nothing yet.

        Args:
            function: what the workers do; it is pickled, and imported by them.
            number: how many there should be.
        """
        self._function = function
        self._number = number
        self._workers: list[_Worker[Task, Result]] = []
        self._left: deque[Task] = deque()
        self._num_deaths = 0
        self._why_fewer = ""

    def add(self, tasks: Iterable[Task]) -> None:
        """More to do."""
        self._left.extend(tasks)

    def results(self) -> Iterator[Result | Death[Task]]:
        """Do all tasks, in the order in which they are ready; then, or on an error, no worker is left.

        Raises:
            WorkersEndedError: nobody is left to do the rest.
        """
        try:
            while self._left or any(worker.given for worker in self._workers):
                self._hire()
                for worker in self._workers:
                    worker.take_from(self._left)
                ready = wait([worker.connection for worker in self._workers if worker.given])
                for worker in [one for one in self._workers if one.connection in ready]:
                    yield from self._hear(worker)
        finally:
            for worker in self._workers:
                worker.end(_END_SECONDS)
            self._workers.clear()

    def _hire(self) -> None:
        wanted = min(self._number, len(self._workers) + len(self._left))
        while len(self._workers) < wanted:
            try:
                self._workers.append(_Worker(self._function))
            except (OSError, NotImplementedError) as error:  # no more processes on this machine
                self._number, self._why_fewer = len(self._workers), str(error)
                break
        if not self._workers:
            raise WorkersEndedError(self._why_fewer)

    def _hear(self, worker: _Worker[Task, Result]) -> Iterator[Result | Death[Task]]:
        try:
            answer = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._bury(worker)
            return
        if not worker.is_up:
            worker.is_up = True
            return
        worker.given.popleft()
        if isinstance(answer, Exception):
            raise answer
        yield answer

    def _bury(self, worker: _Worker[Task, Result]) -> Iterator[Death[Task]]:
        """What a dead worker had not begun is left for others; what it died of is told."""
        self._workers.remove(worker)
        how = worker.end(_JOIN_SECONDS)
        self._num_deaths += 1
        if not worker.is_up or self._num_deaths > _MOST_DEATHS:
            self._number, self._why_fewer = min(self._number, len(self._workers)), how
        died_of = [worker.given.popleft()] if worker.is_up else []
        self._left.extendleft(reversed(worker.given))
        for task in died_of:
            yield Death(task, how)


class _Worker(Generic[Task, Result]):
    """One process and what it was given."""

    def __init__(self, function: Callable[[Task], Result]) -> None:
        context = multiprocessing.get_context("spawn")
        self.given: deque[Task] = deque()
        self.is_up = False  # it has imported what it needs
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(function, theirs), daemon=True)
        try:
            self._process.start()
        finally:
            theirs.close()  # else its death would not be the pipe's end

    def take_from(self, tasks: deque[Task]) -> None:
        """Take what it can have ahead."""
        while tasks and len(self.given) < _GIVEN_AHEAD:
            self.given.append(tasks.popleft())
            try:
                self.connection.send(self.given[-1])
            except OSError:  # it is dead, which is noticed when it is listened to
                return

    def end(self, patience_seconds: float) -> str:
        """Make sure that it is no more; returns how it ended."""
        self.connection.close()
        self._process.join(patience_seconds)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(_JOIN_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        return f"a worker was killed by signal {-code}" if code < 0 else f"a worker ended with code {code}"


def _work(function: Callable[[Task], Result], connection: Connection) -> None:
    """In the worker: do tasks until there are no more. Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection.send("up")
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            answer: Result | Exception = function(task)
        except Exception as error:
            answer = error
        try:
            connection.send(answer)
        except OSError:
            return  # nobody listens any more


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

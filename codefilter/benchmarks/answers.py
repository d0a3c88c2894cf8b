"""Files of a repository that give a task's answer away.

In: a repository's folder and its tasks. Out: which files no index may have, and which tasks have a twin. A
public copy of RepoEval's repositories holds ``testNNN.py`` files with the answers in them. But repositories
also repeat themselves: of the 67 imagen-pytorch tasks, 25 stand in a second module of the package with the
lines around them, and no search by content alone can tell the two. So a file is excluded if it holds a target
and is either named like those files or a copy of the target's whole file; other repetitions are the
benchmark's own, and counted.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from codefilter.source import Skipped, read_source, scan
from codefilter.types import CompletionTask

COPIED_SHARE = 0.9  # of the non-blank lines of the target's file, for another file to be a copy of it
MIN_TARGET_LINES = 3  # a shorter target counts only together with one of its neighbours

_NUMBERED_TEST = re.compile(r"test_?\d+\.\w+", re.IGNORECASE)


@dataclass(frozen=True)
class AnswerSearch:
    """What was found in one repository."""

    excluded_paths: tuple[str, ...]
    repeated_task_ids: tuple[str, ...]


def find_answers(root: Path, tasks: Sequence[CompletionTask]) -> AnswerSearch:
    """Search all files of a repository that an index would have for the targets of its tasks."""
    lines = dict(_read_lines(root))
    files_with: dict[str, list[str]] = defaultdict(list)
    for path, own in lines.items():
        for line in set(own):
            files_with[line].append(path)
    excluded: set[str] = set()
    repeated: list[str] = []
    for task in tasks:
        own = lines.get(task.request.path, [])
        first = len(_code_lines(task.request.prefix))
        target = _code_lines(task.target)
        candidates = files_with[target[0]] if target else []
        holders = [
            path
            for path in candidates
            if path != task.request.path and _holds(lines[path], own, first, target)
        ]
        leaks = {path for path in holders if _is_numbered_test(path) or _is_copy(lines[path], own)}
        excluded |= leaks
        if leaks != set(holders):
            repeated.append(task.task_id)
    return AnswerSearch(tuple(sorted(excluded)), tuple(repeated))


def _read_lines(root: Path) -> Iterator[tuple[str, list[str]]]:
    for path in scan(root).files:
        source = read_source(root, path)
        if not isinstance(source, Skipped):
            yield path, _code_lines(source.text)


def _code_lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _holds(other: list[str], own: list[str], first: int, target: list[str]) -> bool:
    """Whether the target stands in another file, a short one with the line before or after it."""
    after = first + len(target)
    for start, line in enumerate(other):
        end = start + len(target)
        if line != target[0] or other[start:end] != target:
            continue
        same_before = 0 < first <= len(own) and start > 0 and own[first - 1] == other[start - 1]
        same_after = after < len(own) and end < len(other) and own[after] == other[end]
        if len(target) >= MIN_TARGET_LINES or same_before or same_after:
            return True
    return False


def _is_numbered_test(path: str) -> bool:
    return _NUMBERED_TEST.fullmatch(PurePosixPath(path).name) is not None


def _is_copy(other: list[str], own: list[str]) -> bool:
    """Of a file that no index has, `own` is empty, and nothing is known to be its copy."""
    return bool(own) and (Counter(own) & Counter(other)).total() >= COPIED_SHARE * len(own)

"""Files of a repository that give a task's answer away.

In: a repository's folder and its tasks. Out: which files no index may have, which tasks have a twin, and a
hash of the other files. A public copy of RepoEval's repositories holds ``testNNN.py`` files with the answers
in them. But repositories also repeat themselves: of the 67 imagen-pytorch tasks, 25 stand in a second module
of the package with the lines around them, and no search by content alone can tell the two. So a file is
excluded if it holds a target and is either named like those files or a copy of the target's whole file; other
repetitions are the benchmark's own, and counted.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from codefilter.source import Skipped, read_source, scan
from codefilter.tasks import code_lines, has_same_neighbour
from codefilter.types import CompletionTask, SourceFile, content_hash

COPIED_SHARE = 0.9  # of the non-blank lines of the target's file, for another file to be a copy of it
MIN_TARGET_LINES = 3  # a shorter target counts only together with one of its neighbours

_NUMBERED_TEST = re.compile(r"test_?\d+\.\w+", re.IGNORECASE)


@dataclass(frozen=True)
class AnswerSearch:
    """What was found in one repository."""

    excluded_paths: tuple[str, ...]
    repeated_task_ids: tuple[str, ...]
    content_sha256: str  # of paths and texts of all files but those


def find_answers(root: Path, tasks: Sequence[CompletionTask]) -> AnswerSearch:
    """Search all files of a repository that an index would have for the targets of its tasks."""
    sources = list(_read_sources(root))
    lines = {source.path: code_lines(source.text) for source in sources}
    files_with: dict[str, list[str]] = defaultdict(list)
    for path, own in lines.items():
        for line in set(own):
            files_with[line].append(path)
    excluded: set[str] = set()
    repeated: list[str] = []
    for task in tasks:
        own = lines.get(task.request.path, [])
        first = len(code_lines(task.request.prefix))
        target = code_lines(task.target)
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
    others = sorted(f"{s.path}\0{s.content_hash}\n" for s in sources if s.path not in excluded)
    return AnswerSearch(tuple(sorted(excluded)), tuple(repeated), content_hash("".join(others)))


def _read_sources(root: Path) -> Iterator[SourceFile]:
    for path in scan(root).files:
        source = read_source(root, path)
        if not isinstance(source, Skipped):
            yield source


def _holds(other: list[str], own: list[str], first: int, target: list[str]) -> bool:
    """Whether the target stands in another file, a short one with the line before or after it."""
    length = len(target)
    return any(
        other[start : start + length] == target
        and (length >= MIN_TARGET_LINES or has_same_neighbour(own, first, other, start, length))
        for start in range(len(other) - length + 1)
    )


def _is_numbered_test(path: str) -> bool:
    return _NUMBERED_TEST.fullmatch(PurePosixPath(path).name) is not None


def _is_copy(other: list[str], own: list[str]) -> bool:
    """Of a file that no index has, `own` is empty, and nothing is known to be its copy."""
    return bool(own) and (Counter(own) & Counter(other)).total() >= COPIED_SHARE * len(own)

"""CrossCodeEval and CrossCodeLongEval: places that need something from another file, in four languages.

Source: Ding et al., "CrossCodeEval" (arXiv 2310.11248); Wu et al., "Repoformer" (arXiv 2403.10059), section
4.1, for CrossCodeLongEval, whose records have the same fields. A prompt ends where the target begins, often
within a line, and the right context goes on behind it.

Notable: the release has no repositories (the authors send them on request). Without any, records are checked
only against themselves, which the result says, and what their ``crossfile_context`` lists of other files is
all that can be retrieved. Whether line numbers count from 0 or 1 is written nowhere: both are accepted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from codefilter.benchmarks.base import MismatchReason
from codefilter.benchmarks.layout import find_task_files
from codefilter.benchmarks.loading import MisplacedError, ReleasedBenchmark
from codefilter.benchmarks.records import RawLine, Record
from codefilter.languages import language_of
from codefilter.packages import Progress
from codefilter.request import count_lines
from codefilter.tasks import MAX_NEW_TOKENS
from codefilter.types import (
    CompletionRequest,
    CompletionTask,
    Provenance,
    SourceFile,
    TaskLevel,
    content_hash,
)


class _CrossCode(ReleasedBenchmark):
    """What both benchmarks share: all but names and levels."""

    file_name: re.Pattern[str]  # its group is the level

    def task_files(self, folder: Path) -> list[tuple[Path, TaskLevel]]:
        """One file per folder, language and level.

        Its variants hold the same tasks with other cross-file context. BM25's is taken before another
        retriever's, and what was found with the truth in the query ("oracle") where there is no other.
        """
        chosen: dict[tuple[Path, str, TaskLevel], Path] = {}
        for path in find_task_files(folder, ["*_completion*.jsonl"]):
            match = self.file_name.fullmatch(path.name)
            if match is None:
                continue
            key = (path.parent, match["language"] or "", TaskLevel(match["level"]))
            known = chosen.get(key, path)
            chosen[key] = min(path, known, key=_preference)
        return [(path, level) for (_, _, level), path in sorted(chosen.items())]

    def parser(self, level: TaskLevel) -> Callable[[RawLine], Record]:
        """Parses the lines of one file."""
        return lambda line: self._parse(line, level)

    def _parse(self, line: RawLine, level: TaskLevel) -> Record:
        metadata = line.section("metadata")
        return Record(
            file=line.file,
            line=line.line,
            task_id=metadata.text("task_id"),
            repository=metadata.path(metadata.text("repository")),
            path=metadata.path(metadata.text("file")),
            level=level,
            prompt=line.text("prompt"),
            target=line.text("groundtruth"),
            right_context=line.text("right_context"),
            context_start_line=metadata.number("context_start_lineno"),
            start_line=metadata.number("groundtruth_start_lineno"),
            fragments=_fragments(line),
        )

    def place(self, record: Record, source: SourceFile) -> CompletionTask:
        """Check that prompt, target and right context stand in the file, one after the other."""
        shown = record.prompt + record.target
        starts = [_line_offset(source.text, record.context_start_line - base) for base in (0, 1)]
        start = next((s for s in starts if s is not None and source.text.startswith(shown, s)), None)
        if start is None:
            before = any(s is not None and source.text.startswith(record.prompt, s) for s in starts)
            reason = MismatchReason.TARGET_ELSEWHERE if before else MismatchReason.CONTEXT_DIFFERS
            what = "the target does not follow its prompt" if before else "the prompt does not stand"
            raise MisplacedError(reason, f"{what} in {record.path}")
        offset = start + len(record.prompt)
        end = offset + len(record.target)
        _check_line(record, source.text.count("\n", 0, offset))
        if not source.text.startswith(record.right_context, end):
            raise MisplacedError(
                MismatchReason.CONTEXT_DIFFERS, f"what follows the target in {record.path} is another text"
            )
        return _task(record, source.text[:offset], source.text[end:], source.content_hash)

    def place_alone(self, record: Record) -> CompletionTask:
        """A task between the record's own contexts."""
        _check_line(record, record.context_start_line + record.prompt.count("\n"))
        text = record.prompt + record.target + record.right_context
        task = _task(record, record.prompt, record.right_context, content_hash(text))
        return replace(task, other_files=tuple(_other_files(record)))

    def prepare(self, progress: Progress) -> tuple[str, ...]:
        """Nothing can be fetched without the user's own steps."""
        return ()


class CrossCodeEval(_CrossCode):
    """CrossCodeEval: lines."""

    name = "crosscodeeval"
    contents = "2665 Python, 2139 Java, 3356 TypeScript and 1768 C# line tasks"
    levels = (TaskLevel.LINE,)
    origin = "Unpack data/crosscodeeval_data.tar.xz of https://github.com/amazon-science/cceval."
    file_name = re.compile(r"(?P<language>)(?P<level>line)_completion\w*\.jsonl")


class CrossCodeLongEval(_CrossCode):
    """CrossCodeLongEval: chunks and functions."""

    name = "crosscodelongeval"
    contents = "Python chunk and function tasks"
    levels = (TaskLevel.CHUNK, TaskLevel.FUNCTION)
    origin = "Take crosscodelongeval/processed_data of https://github.com/amazon-science/Repoformer."
    file_name = re.compile(r"(?:(?P<language>[a-z]+)_)?(?P<level>chunk|function)_completion\w*\.jsonl")


def _preference(path: Path) -> tuple[bool, bool, bool, int, str]:
    """Of variants with the same tasks, the least is taken."""
    name = path.name
    return "oracle" in name, "rg1" not in name, "bm25" not in name, len(name), name


def _fragments(line: RawLine) -> tuple[tuple[str, str], ...]:
    if not isinstance(line.values.get("crossfile_context"), dict):  # it is not in every variant
        return ()
    listed = line.section("crossfile_context").sections("list")
    return tuple((one.path(one.text("filename")), one.text("retrieved_chunk")) for one in listed)


def _other_files(record: Record) -> Iterator[SourceFile]:
    """The fragments of each other file, one below the other."""
    texts: dict[str, list[str]] = defaultdict(list)
    for path, text in record.fragments:
        if path != record.path:
            texts[path].append(text.strip("\n"))
    for path, parts in texts.items():
        text = "\n\n".join(dict.fromkeys(parts)) + "\n"
        yield SourceFile(path, text, language_of(path), content_hash(text))


def _task(record: Record, prefix: str, suffix: str, file_hash: str) -> CompletionTask:
    row = prefix.count("\n")
    return CompletionTask(
        task_id=record.task_id,
        repository=record.repository,
        request=CompletionRequest(
            path=record.path,
            prefix=prefix,
            suffix=suffix,
            language=language_of(record.path),
            max_new_tokens=MAX_NEW_TOKENS.get(record.level, 50),
            max_lines=count_lines(record.target),
        ),
        target=record.target,
        level=record.level,
        provenance=Provenance(
            record.repository, "", record.path, row, row + record.target.count("\n") + 1, file_hash
        ),
    )


def _check_line(record: Record, row: int) -> None:
    if record.start_line - row not in (0, 1):
        raise MisplacedError(
            MismatchReason.TARGET_ELSEWHERE,
            f"it begins on line {row + 1}, not {record.start_line + 1}, of {record.path}",
        )


def _line_offset(text: str, line: int) -> int | None:
    """Offset of the beginning of a line; None where there is no such line."""
    if line < 0:
        return None
    offset = 0
    for _ in range(line):
        offset = text.find("\n", offset) + 1
        if offset == 0:
            return None
    return offset

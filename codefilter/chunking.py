"""Source file → chunks: runs of whole lines that are retrieved, judged and shown to the model.

In: a `SourceFile`. Out: `FileChunks`, its chunks in file order and every name that they define.
Two chunkers. "syntax" cuts a file into pieces without overlap where the fewest syntax nodes are torn apart;
"window" takes overlapping windows (RepoCoder, section 3.1). Files without a grammar always get windows. The
first may carry its largest number of lines: "syntax:40".
Notable: "syntax" weighs all cuts of a file against each other, so that splitting a long class and joining
small neighbours are one rule: the cheapest sum of cut and size costs, by dynamic programming in linear time.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from codefilter.errors import UsageError
from codefilter.languages import Definition, SyntaxTree, definitions, has_syntax_error, parse
from codefilter.types import Chunk, SourceFile

# Costs of the "syntax" chunker, in units of one chunk more.
_TORN_NODE = 0.5  # per syntax node that a cut goes through: a statement and its block count two
_TORN_LEAD = 2.0  # a cut between a definition and the comments or decorators that belong to it
_NO_DEFINITION = 0.25  # a cut where no function, class, ... begins
_NO_BLANK_LINE = 0.25  # a cut without a blank line
_OVER_TARGET = 1.0  # for the first line over the target, twice that at the maximum
_UNDER_MINIMUM = 3.0  # for a chunk of no lines; falls to zero at the minimum

_MINOR_KINDS = frozenset({"variable", "field"})

LineRange = tuple[int, int]


@dataclass(frozen=True)
class ChunkOptions:
    """Sizes, in lines and characters. Only a single line may be longer than `max_characters`."""

    target_lines: int = 16
    max_lines: int = 25
    min_lines: int = 4  # wanted, not promised
    max_characters: int = 1500
    window_lines: int = 20
    window_step_lines: int = 10
    window_max_characters: int = 4000

    def __post_init__(self) -> None:
        if not (
            1 <= self.min_lines <= self.target_lines <= self.max_lines
            and 1 <= self.window_step_lines <= self.window_lines
            and min(self.max_characters, self.window_max_characters) >= 1
        ):
            raise UsageError(
                f"these chunk sizes contradict each other: {self}",
                hint="Let min <= target <= max lines and step <= window lines, all of them 1 or more.",
            )


@dataclass(frozen=True)
class ChunkDefinition:
    """A name that a chunk defines: the name itself stands in the chunk."""

    name: str  # "send"
    qualified_name: str  # "Client.send"
    kind: str  # as in `codefilter.languages.Definition`
    chunk_index: int  # position in `FileChunks.chunks`


@dataclass(frozen=True)
class FileChunks:
    """What `chunk_file` makes of one file."""

    chunks: tuple[Chunk, ...]  # by first line
    definitions: tuple[ChunkDefinition, ...]  # in order of appearance
    has_syntax_error: bool  # False for languages without a grammar


def chunk_file(
    file: SourceFile, chunker: str = "syntax", options: ChunkOptions = ChunkOptions()
) -> FileChunks:
    """Cut one file into chunks.

    Every chunk begins and ends with a line that is not blank. "syntax" puts every such line into exactly one
    chunk, "window" into one or more. Any text is cut; the work is a pure function of the arguments.

    Raises:
        UsageError: no chunker of that name.
    """
    cut, options = find_chunker(chunker, options)
    lines = file.text.split("\n")
    found = definitions(file.text, file.language)
    tree = parse(file.text, file.language)
    ranges = cut(lines, tree, found, options) if tree else _window_ranges(lines, options)
    symbols = _symbols(ranges, found)
    chunks = tuple(
        Chunk(
            path=file.path,
            text="\n".join(lines[start:end]),
            start_line=start,
            end_line=end,
            language=file.language,
            symbol=symbol.qualified_name if symbol else None,
            scope=symbol.scope if symbol else None,
        )
        for (start, end), symbol in zip(ranges, symbols, strict=True)
    )
    starts = [start for start, _ in ranges]
    names = tuple(
        ChunkDefinition(item.name, item.qualified_name, item.kind, bisect_right(starts, item.name_line) - 1)
        for item in found
    )
    return FileChunks(chunks, names, has_syntax_error(file.text, file.language))


def _window_ranges(lines: Sequence[str], options: ChunkOptions) -> list[LineRange]:
    """Windows of `window_lines` lines, one every `window_step_lines` lines until the end is reached."""
    filled = [row for row, line in enumerate(lines) if line.strip()]
    num_lines = filled[-1] + 1 if filled else 0
    ranges: list[LineRange] = []
    start = 0
    while start < num_lines:
        end, size = start + 1, len(lines[start])
        while end < min(num_lines, start + options.window_lines):
            size += 1 + len(lines[end])
            if size > options.window_max_characters:
                break
            end += 1
        inside = filled[bisect_left(filled, start) : bisect_left(filled, end)]
        if inside and (not ranges or (inside[0], inside[-1] + 1) != ranges[-1]):
            ranges.append((inside[0], inside[-1] + 1))
        start = num_lines if end == num_lines else min(start + options.window_step_lines, end)
    return ranges


def _syntax_ranges(
    lines: Sequence[str], tree: SyntaxTree, found: Sequence[Definition], options: ChunkOptions
) -> list[LineRange]:
    """The cheapest way to cut all lines into chunks that do not overlap."""
    filled = [row for row, line in enumerate(lines) if line.strip()]
    cut_costs = _cut_costs(lines, tree, found)
    size_costs = _size_costs(options)
    ends = list(accumulate((len(line) + 1 for line in lines), initial=0))  # characters before each line
    max_lines, max_characters = options.max_lines, options.max_characters
    # cheapest[i]: cost of the chunks before filled[i], with the cut there; previous[i]: where the last begins
    cheapest, previous = [0.0], [0]
    for stop, last in enumerate(filled, start=1):
        best, best_start = float("inf"), stop - 1
        end = ends[last + 1] - 1
        for start in range(stop - 1, -1, -1):
            first = filled[start]
            # Size in lines, or in characters by the line (rounded up) where that is more.
            size = max(last - first + 1, -(-(end - ends[first]) * max_lines // max_characters))
            if size > max_lines:
                if start < stop - 1:
                    break
                size = max_lines
            cost = cheapest[start] + size_costs[size]
            if cost < best:
                best, best_start = cost, start
        cheapest.append(best + (cut_costs[filled[stop]] if stop < len(filled) else 0.0))
        previous.append(best_start)
    ranges: list[LineRange] = []
    stop = len(filled)
    while stop:
        ranges.append((filled[previous[stop]], filled[stop - 1] + 1))
        stop = previous[stop]
    return ranges[::-1]


def _size_costs(options: ChunkOptions) -> list[float]:
    """Cost of a chunk by its number of lines, 0 to `max_lines`."""
    low, target, high = options.min_lines, options.target_lines, options.max_lines
    costs = []
    for size in range(high + 1):
        cost = 1.0
        if size < low:
            cost += _UNDER_MINIMUM * (low - size) / low
        elif size > target:
            cost += _OVER_TARGET * (1 + (size - target) / (high - target))
        costs.append(cost)
    return costs


def _cut_costs(lines: Sequence[str], tree: SyntaxTree, found: Iterable[Definition]) -> list[float]:
    """Cost of letting a chunk begin at each line."""
    changes = [0.0] * (len(lines) + 1)
    stack = [tree.root]
    while stack:
        for node in stack.pop().children:
            first, (last, last_column) = node.start_point[0], node.end_point
            last -= last_column == 0
            if last > first:
                changes[first + 1] += _TORN_NODE
                changes[last + 1] -= _TORN_NODE
                stack.append(node)
    begins = set()
    for item in found:
        changes[item.start_line + 1] += _TORN_LEAD
        changes[item.name_line + 1] -= _TORN_LEAD
        if item.kind not in _MINOR_KINDS:
            begins.add(item.start_line)
    costs = list(accumulate(changes))[: len(lines)]
    for line in range(1, len(lines)):
        costs[line] += (line not in begins) * _NO_DEFINITION + bool(lines[line - 1].strip()) * _NO_BLANK_LINE
    return costs


def _symbols(ranges: Sequence[LineRange], found: Sequence[Definition]) -> list[Definition | None]:
    """What each range shows: the definition with the most lines in it.

    Counted are the definitions that begin in the range, and, up to the first of them, the innermost one that
    began before it (so the parts of a split function belong to the function). Fields never count, variables
    only where nothing else does.
    """
    candidates = [item for item in found if item.kind != "field"]
    first_lines = [item.start_line for item in candidates]
    symbols: list[Definition | None] = []
    enclosing: list[Definition] = []
    position = 0
    for start, end in ranges:
        while position < len(candidates) and first_lines[position] < start:
            enclosing.append(candidates[position])
            position += 1
        while enclosing and enclosing[-1].end_line <= start:
            enclosing.pop()
        inside = candidates[position : bisect_left(first_lines, end, lo=position)]
        sizes = [(item, min(item.end_line, end) - item.start_line) for item in inside]
        if enclosing:
            head_end = min(enclosing[-1].end_line, inside[0].start_line if inside else end)
            sizes.insert(0, (enclosing[-1], head_end - start))
        largest = max(sizes, key=lambda size: (size[0].kind != "variable", size[1]), default=None)
        symbols.append(largest[0] if largest else None)
    return symbols


Chunker = Callable[[Sequence[str], SyntaxTree, Sequence[Definition], ChunkOptions], list[LineRange]]

CHUNKERS: dict[str, Chunker] = {
    "syntax": _syntax_ranges,
    "window": lambda lines, _tree, _found, options: _window_ranges(lines, options),
}


def find_chunker(name: str, options: ChunkOptions = ChunkOptions()) -> tuple[Chunker, ChunkOptions]:
    """A chunker by its name, and the sizes it is to use: those given, or in proportion to a number of lines.

    Raises:
        UsageError: no chunker of that name.
    """
    kind, _, lines = name.partition(":")
    if name in CHUNKERS:
        return CHUNKERS[name], options
    if kind != "syntax" or not re.fullmatch(r"[1-9][0-9]{0,2}", lines):
        raise UsageError(
            f"unknown chunker {name!r}",
            hint=f"Choose one of: {', '.join(CHUNKERS)}; or syntax:LINES, up to 999, for larger chunks.",
        )
    largest = int(lines)
    target = max(1, options.target_lines * largest // options.max_lines)
    sizes = replace(
        options,
        target_lines=target,
        max_lines=largest,
        min_lines=min(options.min_lines, target),
        max_characters=max(1, options.max_characters * largest // options.max_lines),
    )
    return CHUNKERS[kind], sizes

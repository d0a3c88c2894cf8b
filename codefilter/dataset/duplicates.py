"""Examples that stand, nearly the same, in a benchmark or in another repository: found and left out.

In: labelled examples with their text; the texts of every benchmark set. Out: ``excluded.json``, which names
each such example and what it is like; `read_examples` leaves it out from then on. So parts that are disjoint
by repository are disjoint by code.
Notable: a target of a line is too short to compare, and a whole file hides a copied function. So what is
compared is the code around the target: the syntax chunks that its lines touch, against all chunks of the
benchmark's files, or of the earlier examples of other repositories, and the whole file against whole files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codefilter.benchmarks import BENCHMARKS
from codefilter.chunking import chunk_file
from codefilter.dataset.exclusions import Exclusion
from codefilter.dataset.materialize import TextExample
from codefilter.near_duplicates import DEFAULT_THRESHOLD, KnownTexts, NearDuplicate, find_near_duplicates
from codefilter.packages import fetch_package, load_corpora
from codefilter.tasks import read_repository
from codefilter.types import CompletionTask, SourceFile

MIN_CHARACTERS = 200  # shorter texts are alike by chance
OTHER_REPOSITORIES = "other repositories of this dataset"
_PACKAGES = "packages of role "  # told apart from the benchmark of that name


@dataclass(frozen=True)
class Reference:
    """A file of a benchmark, or the text around one of its tasks where there is no repository."""

    name: str
    source: SourceFile


def benchmark_references(on_compared: Callable[[str], object]) -> Iterator[Reference]:
    """Every file of every benchmark that is here; `on_compared` is told each benchmark's name.

    Of benchmarks that are not on this machine, only those that can be fetched from the package index are.
    """
    pins = [pin for pin in load_corpora() if pin.role != "train"]
    for pin in pins:
        yield from _files_of(f"{_PACKAGES}{pin.role}/{pin.name}", fetch_package(pin))
    for role in dict.fromkeys(pin.role for pin in pins):
        on_compared(f"{_PACKAGES}{role}")
    for name, benchmark in BENCHMARKS.items():
        if not benchmark.availability().task_files:
            continue
        loaded = benchmark.load()
        roots = {repository.name: repository.root for repository in loaded.repositories}
        for repository, root in roots.items():
            if root is not None:
                yield from _files_of(f"{name}/{repository}", root)
        for task in loaded.tasks:
            if roots.get(task.repository) is None:
                yield task_reference(name, task)
        on_compared(name)


def _files_of(name: str, root: Path) -> Iterator[Reference]:
    return (Reference(name, source) for source in read_repository(root, name, "").sources)


def task_reference(benchmark: str, task: CompletionTask) -> Reference:
    """What a benchmark's record shows, as a file."""
    text = task.request.prefix + task.target + task.request.suffix
    source = SourceFile(task.request.path, text, task.request.language, task.provenance.content_hash)
    return Reference(f"{benchmark}/{task.repository}", source)


def find_exclusions(
    examples: Iterable[TextExample],
    references: Iterable[Reference],
    threshold: float = DEFAULT_THRESHOLD,
) -> list[Exclusion]:
    """Examples whose surroundings stand nearly the same in a reference, each once, in the examples' order."""
    items = [item for example in examples for item in _around(example)]
    return _exclusions(find_near_duplicates(items, _reference_texts(references), threshold))


def find_repeated(examples: Iterable[TextExample], threshold: float = DEFAULT_THRESHOLD) -> list[Exclusion]:
    """Examples whose surroundings stand nearly the same around an earlier example of another repository.

    So a dataset that grows at its end loses nothing that was in it.
    """
    known = KnownTexts(threshold)
    repositories: dict[str, str] = {}  # by the id of a text
    found: list[NearDuplicate] = []
    for example in examples:
        own = example.record.repository

        def is_own(other: str, own: str = own) -> bool:
            return repositories[other] == own

        for name, text in _around(example):
            near = known.nearest(text, skip=is_own)
            if near is not None:
                found.append(NearDuplicate(name, f"{OTHER_REPOSITORIES}/{near[0]}", near[1]))
            known.add(name, text)
            repositories[name] = own
    return _exclusions(found)


def _exclusions(found: Iterable[NearDuplicate]) -> list[Exclusion]:
    """Each example once, for what is most like a piece of it."""
    exclusions: dict[str, Exclusion] = {}
    for duplicate in found:
        example_id = duplicate.item_id.rpartition("#")[0]
        best = exclusions.get(example_id)
        if best is None or duplicate.similarity > best.similarity:
            exclusions[example_id] = Exclusion(
                example_id, duplicate.reference_id, round(duplicate.similarity, 3)
            )
    return list(exclusions.values())


def keep_others(
    found: Sequence[Exclusion], earlier: Iterable[Exclusion], compared: Iterable[str]
) -> list[Exclusion]:
    """What was found, and what benchmarks that are not here this time had left out before."""
    here = tuple(f"{name}/" for name in compared)
    names = {exclusion.example_id for exclusion in found}
    others = (e for e in earlier if e.example_id not in names and not e.reference.startswith(here))
    return [*found, *others]


def _around(example: TextExample) -> Iterator[tuple[str, str]]:
    request = example.task.request
    text = request.prefix + example.task.target + request.suffix
    source = SourceFile(request.path, text, request.language, example.record.file_sha256)
    for number, (start, end, piece) in enumerate(_pieces(source)):
        if start < example.record.end_line and end > example.record.start_line:
            yield f"{example.record.example_id}#{number}", piece


def _reference_texts(references: Iterable[Reference]) -> Iterator[tuple[str, str]]:
    """Pieces by place; where records without repositories show other windows of a file, by number too."""
    known: dict[str, set[str]] = defaultdict(set)
    for reference in references:
        for start, end, piece in _pieces(reference.source):
            name = f"{reference.name}/{reference.source.path}:{start + 1}-{end}"
            texts = known[name]
            if piece not in texts:
                texts.add(piece)
                yield name if len(texts) == 1 else f"{name} ({len(texts)})", piece


def _pieces(source: SourceFile) -> Iterator[tuple[int, int, str]]:
    """(first line, line after the last, text) of the whole file and of its chunks."""
    if len(source.text) < MIN_CHARACTERS:
        return
    yield 0, source.text.count("\n") + 1, source.text
    for chunk in chunk_file(source).chunks:
        if len(chunk.text) >= MIN_CHARACTERS:
            yield chunk.start_line, chunk.end_line, chunk.text

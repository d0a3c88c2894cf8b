"""One source file → what the index keeps of it: text, chunks, definitions, term counts.

In: a `SourceFile`. Out: a `FileEntry` that depends on no other file. Terms are numbered within the file, so
entries are made in any process, in any order, and stored by several writers without a shared vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codefilter.chunking import ChunkDefinition, chunk_file
from codefilter.index.spec import IndexSpec
from codefilter.index.terms import count_terms
from codefilter.types import Chunk, SourceFile

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True)
class FileStamp:
    """What tells cheaply that a file did not change."""

    size_bytes: int
    mtime_ns: int  # -1 where it cannot be trusted: the file was younger than a clock tick when it was read
    ctime_ns: int  # archives and tools set the other one back, this one nobody does; on Windows it says less

    def is_same(self, other: FileStamp) -> bool:
        """Whether the file cannot have changed between the two."""
        return self == other and self.mtime_ns != -1


@dataclass(frozen=True, eq=False)
class FileEntry:
    """One file of the index."""

    path: str
    language: str
    content_hash: str
    stamp: FileStamp
    has_syntax_error: bool
    is_encoding_guessed: bool
    text: bytes  # UTF-8, lone surrogates passed through
    spans: Int32Array  # (chunks, 4): start line, end line, start byte, end byte
    names: tuple[tuple[str | None, str | None], ...]  # symbol and scope of each chunk
    definitions: tuple[ChunkDefinition, ...]
    terms: str  # every term of the file, once, joined by newlines
    chunk_sizes: Int32Array  # (chunks,): how many distinct terms each chunk has
    chunk_terms: Int32Array  # (sum of chunk_sizes,): positions among `terms`, chunk after chunk
    chunk_counts: Int32Array  # (sum of chunk_sizes,): how often the term occurs in the chunk

    @property
    def num_chunks(self) -> int:
        """Number of chunks."""
        return len(self.spans)

    @property
    def num_lines(self) -> int:
        """Number of lines, an unfinished last one included."""
        return self.text.count(b"\n") + (not self.text.endswith(b"\n") and bool(self.text))

    def decoded_text(self) -> str:
        """The file's text."""
        return self.text.decode("utf-8", "surrogatepass")

    def chunk(self, index: int) -> Chunk:
        """Make the `index`-th chunk of the file."""
        start_line, end_line, start_byte, end_byte = self.spans[index].tolist()
        symbol, scope = self.names[index]
        text = self.text[start_byte:end_byte].decode("utf-8", "surrogatepass")
        return Chunk(self.path, text, start_line, end_line, self.language, symbol, scope)


def make_entry(
    file: SourceFile, stamp: FileStamp, spec: IndexSpec, *, is_encoding_guessed: bool = False
) -> FileEntry:
    """Chunk a file and count its terms."""
    cut = chunk_file(file, spec.chunker, spec.options)
    local_ids: dict[str, int] = {}
    chunk_terms: list[int] = []
    chunk_counts: list[int] = []
    chunk_sizes: list[int] = []
    for chunk in cut.chunks:
        counts = count_terms(chunk.text)
        chunk_terms.extend(local_ids.setdefault(term, len(local_ids)) for term in counts)
        chunk_counts.extend(counts.values())
        chunk_sizes.append(len(counts))
    return FileEntry(
        path=file.path,
        language=file.language,
        content_hash=file.content_hash,
        stamp=stamp,
        has_syntax_error=cut.has_syntax_error,
        is_encoding_guessed=is_encoding_guessed,
        text=_encode(file.text),
        spans=_spans(file.text, cut.chunks),
        names=tuple((chunk.symbol, chunk.scope) for chunk in cut.chunks),
        definitions=cut.definitions,
        terms="\n".join(local_ids),
        chunk_sizes=np.array(chunk_sizes, np.int32),
        chunk_terms=np.array(chunk_terms, np.int32),
        chunk_counts=np.array(chunk_counts, np.int32),
    )


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _spans(text: str, chunks: tuple[Chunk, ...]) -> Int32Array:
    """Lines and bytes of every chunk, so that a chunk's text is a slice of the file's bytes."""
    line_bytes = [len(_encode(line)) + 1 for line in text.split("\n")]
    line_starts = [0, *np.cumsum(line_bytes).tolist()]
    spans = np.zeros((len(chunks), 4), np.int32)
    for row, chunk in zip(spans, chunks, strict=True):
        start_byte = line_starts[chunk.start_line]
        row[:] = chunk.start_line, chunk.end_line, start_byte, start_byte + len(_encode(chunk.text))
    return spans

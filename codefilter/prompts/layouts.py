"""Layouts: where the cross-file chunks stand, and what a whole prompt looks like.

In: the in-file context, kept chunks in prompt order, a `FimFormat`. Out: a `Prompt` (typed segments and
token ids). To add a layout, write a function and add it to `LAYOUTS`.

In every layout with a middle token the prefix ends where the hole begins, some lines above the cursor's, and
what follows up to the cursor stands behind the middle token. While somebody types, the prompt only grows at
its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from codefilter.errors import UsageError
from codefilter.languages import line_comment
from codefilter.prompts.formats import FimFormat
from codefilter.prompts.in_file import InFileContext
from codefilter.tokenizer import Tokenizer
from codefilter.types import Chunk, Prompt, Segment, SegmentRole

_COMMENTED = ("after-suffix", "in-prefix")
_HEADER_TOKENS = 16  # control token and path, about


@dataclass(frozen=True)
class PromptParts:
    """What a layout arranges."""

    repository: str
    path: str
    language: str
    in_file: InFileContext
    chunks: tuple[Chunk, ...]
    format: FimFormat
    show_scope: bool = False  # above a chunk's text, what encloses it


def _control(name: str) -> list[Segment]:
    return [Segment(SegmentRole.CONTROL, name)] if name else []


def _text(role: SegmentRole, text: str, chunk_id: str | None = None) -> list[Segment]:
    return [Segment(role, text, chunk_id)] if text else []


def _ending_in_newline(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def _file_header(parts: PromptParts, path: str) -> list[Segment]:
    """What announces a file: the family's file token, its trained header, or a comment."""
    row = parts.format
    if row.file_token:
        return _control(row.file_token) + _text(SegmentRole.HEADER, f"{path}\n")
    return _path_line(parts, path)


def _path_line(parts: PromptParts, path: str) -> list[Segment]:
    mark = parts.format.file_header or f"{line_comment(parts.language)} "
    return _text(SegmentRole.HEADER, f"{mark}{path}\n")


def _repository_chunks(parts: PromptParts) -> list[Segment]:
    segments: list[Segment] = []
    if parts.format.repository_token:
        segments += _control(parts.format.repository_token)
        segments += _text(SegmentRole.HEADER, f"{parts.repository}\n")
    for chunk in parts.chunks:
        segments += chunk_as_file(parts, chunk)
    return segments


def chunk_as_file(parts: PromptParts, chunk: Chunk) -> list[Segment]:
    """A chunk as a file of the repository."""
    text = _text(SegmentRole.CHUNK, _ending_in_newline(_in_scope(parts, chunk)), chunk.chunk_id)
    return _file_header(parts, chunk.path) + text


def _in_scope(parts: PromptParts, chunk: Chunk) -> str:
    scope = f"{line_comment(parts.language)} in {chunk.scope}\n" if parts.show_scope and chunk.scope else ""
    return scope + chunk.text


def _commented_chunks(parts: PromptParts) -> list[Segment]:
    segments: list[Segment] = []
    for chunk in parts.chunks:
        segments += _text(SegmentRole.CHUNK, _commented(parts, chunk), chunk.chunk_id)
    return segments


def _commented(parts: PromptParts, chunk: Chunk) -> str:
    """A chunk as comments, under a line that says where it is from (Repoformer's wording)."""
    mark = line_comment(parts.language)
    lines = ["the below code fragment can be found in:", chunk.path, *chunk.text.rstrip("\n").split("\n")]
    return "".join(f"{mark} {line}".rstrip() + "\n" for line in lines) + "\n"


def _in_file(parts: PromptParts, before_prefix: list[Segment], after_suffix: list[Segment]) -> list[Segment]:
    """Prefix, suffix and hole in the family's order; `before_prefix` follows the prefix token."""
    row = parts.format
    above, in_hole = parts.in_file.split_at_hole()
    prefix = _control(row.prefix_token) + before_prefix + _text(SegmentRole.PREFIX, above)
    suffix = _control(row.suffix_token) + _text(SegmentRole.SUFFIX, parts.in_file.suffix) + after_suffix
    typed = _control(row.middle_token) + _text(SegmentRole.TYPED, in_hole)
    return suffix + prefix + typed if row.suffix_first else prefix + suffix + typed


def repository(parts: PromptParts) -> list[Segment]:
    """Chunks first, each as a file of the repository, then the current file (the model's own format)."""
    row = parts.format
    header = _file_header(parts, parts.path)
    if not row.fills_in_the_middle:
        return left_to_right(parts)
    if row.suffix_first:  # the suffix comes first of all, the repository inside the prefix
        return _in_file(parts, [*_repository_chunks(parts), *header], [])
    if row.path_inside_prefix:
        head, inside = (header[:1], header[1:]) if row.file_token else ([], header)
        return [*_repository_chunks(parts), *head, *_in_file(parts, inside, [])]
    if not row.file_token:  # no repository format at all: files as text within the prefix
        return _in_file(parts, [*_repository_chunks(parts), *header], [])
    return [*_repository_chunks(parts), *header, *_in_file(parts, [], [])]


def repository_scope(parts: PromptParts) -> list[Segment]:
    """Like `repository`, with a comment above a chunk that names the class or function around it."""
    return repository(replace(parts, show_scope=True))


def after_suffix(parts: PromptParts) -> list[Segment]:
    """Chunks after the suffix (Repoformer, CODEFILTER): all in-file text is shared between chunks."""
    if not parts.format.fills_in_the_middle or parts.format.suffix_first:
        raise UsageError(
            f"the layout after-suffix needs prefix, suffix, middle; not so {parts.format.family}",
            hint="Choose --layout repository.",
        )
    chunks = _commented_chunks(parts)
    return _in_file(parts, [], [*_text(SegmentRole.HEADER, "\n" if chunks else ""), *chunks])


def in_prefix(parts: PromptParts) -> list[Segment]:
    """Chunks as comments at the beginning of the prefix."""
    if not parts.format.fills_in_the_middle:
        return left_to_right(parts)
    return _in_file(parts, _commented_chunks(parts), [])


def files_in_prefix(parts: PromptParts) -> list[Segment]:
    """Chunks as code at the beginning of the prefix, each below its path; without chunks, one file's format.

    Nothing announces the current file, nor the repository: such headers make the truth less likely.
    """
    if not parts.format.fills_in_the_middle:
        return left_to_right(parts)
    segments: list[Segment] = []
    for chunk in parts.chunks:
        segments += _path_line(parts, chunk.path)
        text = _ending_in_newline(_in_scope(parts, chunk)) + "\n"
        segments += _text(SegmentRole.CHUNK, text, chunk.chunk_id)
    return _in_file(parts, segments, [])


def left_to_right(parts: PromptParts) -> list[Segment]:
    """Chunks, then the file up to the cursor; the suffix is not read (RepoEval's original protocol)."""
    in_file = parts.in_file
    return [
        *_repository_chunks(parts),
        *_file_header(parts, parts.path),
        *_text(SegmentRole.PREFIX, in_file.prefix),
        *_text(SegmentRole.TYPED, in_file.typed),
    ]


LAYOUTS: dict[str, Callable[[PromptParts], list[Segment]]] = {
    "repository": repository,
    "repository-scope": repository_scope,
    "after-suffix": after_suffix,
    "in-prefix": in_prefix,
    "files-in-prefix": files_in_prefix,
    "left-to-right": left_to_right,
}


AUTO = "auto"
AUTO_WRITES = "files-in-prefix"  # where the model fills in the middle
LAYOUT_NAMES = (AUTO, *LAYOUTS)  # values of the setting


def writing_layout(layout: str, row: FimFormat) -> str:
    """The layout in which a family's model completes; `UsageError` for an unknown one.

    ``auto`` is where the truth is likely with chunks and without, and where a hole that moves leaves all that
    stands before it as it is; measured for Qwen2.5-Coder (`LOG.md`).
    """
    if layout == AUTO:
        return AUTO_WRITES if row.fills_in_the_middle else "repository"
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout {layout!r}", hint=f"Layouts: {', '.join(LAYOUT_NAMES)}.")
    return layout


def measuring_layout(layout: str) -> str:
    """The layout in which the impact of chunks is measured, for labels and filters.

    ``auto`` is where an unrelated chunk changes least: what a model completes best with is not what measures
    best. In `repository` no unrelated chunk of 180 seemed to help, after the suffix a fifth of them did.
    """
    return "repository" if layout == AUTO else layout


def chunk_cost_tokens(parts: PromptParts, layout: str, chunk: Chunk, tokenizer: Tokenizer) -> int:
    """What a chunk takes of the budget: all that the layout shows of it, and about what its header has."""
    if layout in _COMMENTED and parts.format.fills_in_the_middle:  # the header is among the comments
        return len(tokenizer.encode(_commented(parts, chunk)))
    shown = _in_scope(replace(parts, show_scope=layout == "repository-scope"), chunk)
    return len(tokenizer.encode(shown)) + _HEADER_TOKENS


def build_prompt(
    parts: PromptParts,
    layout: str,
    tokenizer: Tokenizer,
    *,
    dropped: Sequence[Chunk] = (),
) -> Prompt:
    """Arrange, tokenize and heal a prompt; `layout` is one of `LAYOUTS`."""
    segments = LAYOUTS[layout](parts)
    begin = parts.format.begin_token
    segments = merge_text([*_control(begin), *segments])
    ids: list[int] = []
    cross_file_tokens = 0
    healed = ""
    for position, segment in enumerate(segments):
        if position == len(segments) - 1 and segment.role is not SegmentRole.CONTROL:
            piece, healed = tokenizer.heal(segment.text)
        else:
            piece = segment_ids(segment, tokenizer)
        if segment.role is SegmentRole.CHUNK:
            cross_file_tokens += len(piece)
        ids += piece
    return Prompt(
        segments=tuple(segments),
        token_ids=tuple(ids),
        format=parts.format.family,
        layout=layout,
        healed_text=healed,
        chunk_ids=tuple(chunk.chunk_id for chunk in parts.chunks),
        dropped_chunk_ids=tuple(chunk.chunk_id for chunk in dropped),
        num_cross_file_tokens=cross_file_tokens,
    )


def merge_text(segments: Iterable[Segment]) -> list[Segment]:
    """Join the prefix with the typed part where nothing stands between them.

    Two text segments side by side are tokenized apart. That is right between files, and wrong in the middle
    of a line, where a model without a middle token goes on.
    """
    merged: list[Segment] = []
    for segment in segments:
        if segment.role is SegmentRole.TYPED and merged and merged[-1].role is SegmentRole.PREFIX:
            merged[-1] = Segment(SegmentRole.PREFIX, merged[-1].text + segment.text)
        else:
            merged.append(segment)
    return merged


def segment_ids(segment: Segment, tokenizer: Tokenizer) -> list[int]:
    """Token ids of a segment, whole."""
    if segment.role is not SegmentRole.CONTROL:
        return tokenizer.encode(segment.text)
    token_id = tokenizer.control_id(segment.text)
    if token_id is None:  # `get_format` has checked the family's tokens
        raise ValueError(f"{segment.text} is not a control token of this tokenizer")
    return [token_id]

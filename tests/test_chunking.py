"""How files are cut: what holds for any text, and what the pieces are in ordinary source."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codefilter.chunking import CHUNKERS, ChunkOptions, FileChunks, chunk_file
from codefilter.errors import UsageError
from codefilter.languages import LANGUAGES, parse
from codefilter.types import SourceFile, content_hash

NAMES = [language.name for language in LANGUAGES]


def source(text: str, language: str = "python") -> SourceFile:
    return SourceFile("pkg/file", text, language, content_hash(text))


def cut(text: str, language: str = "python", chunker: str = "syntax", **options: int) -> FileChunks:
    return chunk_file(source(text, language), chunker, replace(ChunkOptions(), **options))


def ranges(found: FileChunks) -> list[tuple[int, int]]:
    return [(chunk.start_line, chunk.end_line) for chunk in found.chunks]


def function(name: str, num_lines: int, indent: str = "") -> str:
    body = [f"{indent}    step_{number}()" for number in range(num_lines - 1)]
    return "\n".join([f"{indent}def {name}():", *body]) + "\n"


# --- any text ---

_WORDS = """def class fn func struct { } ( ) [ ] : ; = @dec # // /* */ ' " return if else x y"""
_SPACES = ["\n", "\n\n", "\n    ", "\n        ", " ", "\t", "\r", "\f", "\0", "\u2028"]
_FRAGMENTS = st.sampled_from([*_WORDS.split(), *_SPACES, "\ud800", "字", '"""', "x" * 90])
ANY_TEXT = st.one_of(st.text(max_size=300), st.lists(_FRAGMENTS, max_size=150).map("".join))
OPTIONS = st.builds(
    lambda low, mid, high, characters, window, step: ChunkOptions(
        min_lines=low,
        target_lines=low + mid,
        max_lines=low + mid + high,
        max_characters=characters,
        window_lines=window + step,
        window_step_lines=step,
        window_max_characters=characters,
    ),
    st.integers(1, 4),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(1, 400),
    st.integers(0, 10),
    st.integers(1, 10),
)


@settings(max_examples=300)
@given(
    text=ANY_TEXT,
    language=st.sampled_from([*NAMES, "text"]),
    options=OPTIONS,
    chunker=st.sampled_from([*CHUNKERS]),
)
def test_any_text_is_cut_into_whole_lines_in_order(
    text: str, language: str, options: ChunkOptions, chunker: str
) -> None:
    file = source(text, language)
    found = chunk_file(file, chunker, options)
    lines = text.split("\n")
    filled = {row for row, line in enumerate(lines) if line.strip()}
    covered = [row for start, end in ranges(found) for row in range(start, end) if row in filled]
    assert set(covered) == filled
    if chunker == "syntax" and parse(text, language):
        assert covered == sorted(filled)  # every line once
        limit, max_lines = options.max_characters, options.max_lines
    else:
        limit, max_lines = options.window_max_characters, options.window_lines
    for chunk in found.chunks:
        assert chunk.text == "\n".join(lines[chunk.start_line : chunk.end_line])
        assert chunk.start_line in filled
        assert chunk.end_line - 1 in filled
        assert chunk.end_line - chunk.start_line <= max_lines
        assert len(chunk.text) <= limit or chunk.end_line == chunk.start_line + 1
        assert (chunk.path, chunk.language) == (file.path, file.language)
    assert ranges(found) == sorted(set(ranges(found)))
    for item in found.definitions:
        assert 0 <= item.chunk_index < len(found.chunks)
    assert chunk_file(file, chunker, options) == found


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n\f"])
@pytest.mark.parametrize("chunker", [*CHUNKERS])
def test_nothing_gives_no_chunks(text: str, chunker: str) -> None:
    assert cut(text, chunker=chunker) == FileChunks((), (), False)


# --- syntax ---


def test_functions_of_good_size_stand_alone() -> None:
    text = function("first", 12) + "\n\n" + function("second", 14) + "\n\n" + function("third", 22)
    found = cut(text)
    assert ranges(found) == [(0, 12), (14, 28), (30, 52)]
    assert [chunk.symbol for chunk in found.chunks] == ["first", "second", "third"]
    assert found.chunks[0].text == function("first", 12).rstrip("\n")


def test_small_neighbours_are_joined() -> None:
    text = "\n".join(function(f"f{number}", 3) for number in range(4)) + "\n" + function("big", 14)
    found = cut(text)
    assert ranges(found) == [(0, 15), (16, 30)]
    assert [item.name for item in found.definitions if item.chunk_index == 0] == ["f0", "f1", "f2", "f3"]


def test_imports_and_constants_are_joined() -> None:
    text = "import os\nimport sys\n\nLIMIT = 1\nOTHER = 2\n\n\n" + function("f", 15)
    found = cut(text)
    assert ranges(found) == [(0, 5), (7, 22)]
    assert [chunk.symbol for chunk in found.chunks] == ["LIMIT", "f"]
    assert [item.qualified_name for item in found.definitions] == ["LIMIT", "OTHER", "f"]


def test_a_long_class_is_cut_between_its_methods() -> None:
    methods = "\n".join(function(name, 13, "    ") for name in ("first", "second", "third"))
    found = cut('class Client:\n    """A client."""\n\n' + methods)
    assert ranges(found) == [(0, 16), (17, 30), (31, 44)]
    assert [chunk.symbol for chunk in found.chunks] == ["Client", "Client.second", "Client.third"]
    assert [chunk.scope for chunk in found.chunks] == [None, "Client", "Client"]
    assert [(item.qualified_name, item.chunk_index) for item in found.definitions] == [
        ("Client", 0),
        ("Client.first", 0),
        ("Client.second", 1),
        ("Client.third", 2),
    ]


def test_a_long_function_is_cut_between_statements_and_keeps_its_name() -> None:
    block = "    if condition:\n        one()\n        two(\n            1,\n            2,\n        )\n"
    text = "class Client:\n    x = 1\n\n" + "\n".join(
        "    " + line if line else line for line in ("def send(self):\n" + block * 7).split("\n")
    )
    found = cut(text)
    assert len(found.chunks) > 1
    for chunk in found.chunks[1:]:
        assert chunk.text.startswith("        if condition:")
        assert (chunk.symbol, chunk.scope) == ("Client.send", "Client")
    assert [item.chunk_index for item in found.definitions if item.name == "send"] == [0]


def test_decorators_and_comments_stay_with_their_definition() -> None:
    lead = "# About it.\n# More.\n@decorate\n@decorate_with(\n    1,\n)\n"
    found = cut(function("before", 15) + "\n" + lead + function("after", 12))
    assert ranges(found) == [(0, 15), (16, 34)]
    assert found.chunks[1].symbol == "after"


@pytest.mark.parametrize(
    ("language", "lead", "head"),
    [
        ("java", "/** Doc.\n * More. */\n@Override", "public void after() {"),
        ("rust", "/// Doc.\n#[inline]", "pub fn after() {"),
        ("go", "// After does.\n// It.", "func after() {"),
        ("cpp", "// Doc.\ntemplate <typename T>", "void after() {"),
        ("csharp", "/// Doc.\n[Obsolete]", "public void after() {"),
        ("typescript", "/** Doc. */\n// More.", "export function after() {"),
    ],
)
def test_leads_in_other_languages(language: str, lead: str, head: str) -> None:
    body = "".join(f"    step({number});\n" for number in range(14))
    before = head.replace("after", "before") + "\n" + body + "}\n"
    text = before + lead + "\n" + head + "\n" + body + "}\n"
    prefix, suffix = ("class A {\n", "}\n") if language in {"java", "csharp"} else ("", "")
    found = cut(prefix + text + suffix, language)
    assert any(chunk.text.lstrip().startswith(lead.split("\n")[0]) for chunk in found.chunks)
    assert [chunk.symbol and chunk.symbol.split(".")[-1] for chunk in found.chunks][-1] == "after"


def test_a_string_is_not_torn_where_a_statement_can_be() -> None:
    text = 'x = """\n' + "word\n" * 15 + '"""\n' + "y = 1\n" * 12
    assert ranges(cut(text)) == [(0, 17), (17, 29)]


def test_a_string_longer_than_a_chunk_is_torn() -> None:
    found = cut('x = """\n' + "word\n" * 60 + '"""\n')
    assert all(chunk.end_line - chunk.start_line <= 25 for chunk in found.chunks)
    assert [chunk.symbol for chunk in found.chunks] == ["x"] * len(found.chunks)


def test_long_lines_count_for_several() -> None:
    found = cut("".join(f"x{number} = '{'a' * 290}'\n" for number in range(10)))
    assert all(len(chunk.text) <= 1500 for chunk in found.chunks)
    assert cut("x = '" + "a" * 5000 + "'\n").chunks[0].end_line == 1


def test_broken_source_is_still_cut_along_what_is_whole() -> None:
    text = function("first", 13) + "\nx = = 1\n\n" + function("last", 14)
    found = cut(text)
    assert found.has_syntax_error
    assert {"first", "last"} <= {chunk.symbol for chunk in found.chunks}
    assert not cut(function("f", 3)).has_syntax_error


def test_what_cannot_be_parsed_gets_windows() -> None:
    text = "->\n" * 20_000
    found = cut(text, "javascript")
    assert found.has_syntax_error
    assert ranges(found)[:2] == [(0, 20), (10, 30)]


# --- windows ---


@pytest.mark.parametrize("language", ["python", "text"])
def test_windows_of_twenty_lines_every_ten(language: str) -> None:
    text = "".join(f"line_{number}\n" for number in range(45))
    assert ranges(cut(text, language, "window")) == [(0, 20), (10, 30), (20, 40), (30, 45)]
    assert ranges(cut(text[:20], language, "window")) == [(0, 3)]


def test_text_gets_windows_from_either_chunker() -> None:
    text = "".join(f"word {number}\n" for number in range(45))
    assert cut(text, "text", "syntax") == cut(text, "text", "window")


def test_windows_know_their_definitions() -> None:
    found = cut(function("first", 12) + function("second", 12) + function("third", 6), chunker="window")
    assert ranges(found) == [(0, 20), (10, 30)]
    assert [chunk.symbol for chunk in found.chunks] == ["first", "second"]
    # A definition belongs to the last window with its name: that shows most of it.
    assert [(item.name, item.chunk_index) for item in found.definitions] == [
        ("first", 0),
        ("second", 1),
        ("third", 1),
    ]


def test_windows_step_over_empty_stretches() -> None:
    text = "a\n" + "\n" * 50 + "b\n"
    assert ranges(cut(text, "text")) == [(0, 1), (51, 52)]


def test_windows_of_long_lines_are_shorter() -> None:
    found = cut("".join("x" * 999 + "\n" for _ in range(12)), "text")
    assert ranges(found) == [(0, 4), (4, 8), (8, 12)]


# --- arguments, cost ---


def test_unknown_chunker() -> None:
    with pytest.raises(UsageError, match="nonsense") as caught:
        cut("x = 1", chunker="nonsense")
    assert "syntax" in caught.value.hint


@pytest.mark.parametrize(
    "options", [{"min_lines": 0}, {"target_lines": 30}, {"window_step_lines": 21}, {"max_characters": 0}]
)
def test_contradicting_options(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        replace(ChunkOptions(), **options)


def test_results_travel_between_processes() -> None:
    found = cut(function("f", 30))
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("chunker", [*CHUNKERS])
def test_cost_grows_with_the_length_only(chunker: str) -> None:
    piece = "".join(function(f"f{number}", 30) for number in range(100))

    def seconds(text: str) -> float:
        start = time.process_time()
        cut(text, chunker=chunker)
        return time.process_time() - start

    seconds(piece)
    assert seconds(piece * 8) < 8 * 4 * max(seconds(piece + "\n"), 0.02)


def test_the_syntax_chunker_may_carry_its_largest_number_of_lines() -> None:
    text = function("f", 70)
    assert cut(text, chunker="syntax:25") == cut(text)  # the default's
    small, large = (cut(text, chunker=f"syntax:{lines}") for lines in (5, 100))
    assert max(end - start for start, end in ranges(small)) <= 5
    assert ranges(large) == [(0, 70)]
    assert [len(cut(text, chunker="syntax:1").chunks), len(cut("a = 1\n", chunker="syntax:1").chunks)] == [
        70,
        1,
    ]
    for wrong in ("syntax:", "syntax:0", "syntax:x", "syntax:1000", "window:9", ""):
        with pytest.raises(UsageError, match="unknown chunker") as caught:
            cut(text, chunker=wrong)
        assert "syntax:LINES" in caught.value.hint

"""Prompts: formats, layouts, what stays the same while a line is typed, what fits the budget."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codefilter.errors import ModelError, UsageError
from codefilter.lm.decoding import common_prefix_length
from codefilter.lm.fake import byte_tokenizer, byte_tokenizer_spec
from codefilter.prompts.formats import FORMATS, detect_family, get_format
from codefilter.prompts.in_file import ANCHOR_LINES, InFileContext, cut_in_file
from codefilter.prompts.layouts import (
    LAYOUTS,
    PromptParts,
    build_prompt,
    chunk_cost_tokens,
    writing_layout,
)
from codefilter.prompts.selection import select_chunks
from codefilter.tokenizer import Tokenizer
from codefilter.types import (
    Chunk,
    CompletionRequest,
    FilterDecision,
    Polarity,
    Prompt,
    RetrievedChunk,
    SegmentRole,
)

BYTES = byte_tokenizer()
CODE = "def helper():\n    return 1\n"
CHUNK = Chunk("lib/a.py", CODE, 3, 5, "python", "helper")


def tokenizer_with(names: tuple[str, ...]) -> Tokenizer:
    spec = byte_tokenizer_spec()
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    spec["added_tokens"] = [
        {"id": 300 + i, "content": name, "special": True, **flags} for i, name in enumerate(names)
    ]
    return Tokenizer(json.dumps(spec))


def prompt_of(
    family: str,
    layout: str,
    *,
    prefix: str = "import os\n",
    lines_in_hole: str = "",
    typed: str = "    x",
    chunks: bool = True,
) -> Prompt:
    hole_lines = lines_in_hole.count("\n")
    in_file = InFileContext(prefix + lines_in_hole, typed, ")\nend\n", 0, hole_lines)
    parts = replace(parts_of(family, *[CHUNK] * chunks), in_file=in_file)
    return build_prompt(parts, layout, tokenizer_with(parts.format.control_tokens))


def parts_of(family: str, *chunks: Chunk) -> PromptParts:
    in_file = InFileContext("import os\n", "    x", ")\nend\n", 0)
    return PromptParts("demo", "main.py", "python", in_file, chunks, FORMATS[family])


@pytest.mark.parametrize("family", FORMATS)
def test_the_family_is_known_by_its_control_tokens(family: str) -> None:
    assert detect_family(tokenizer_with(FORMATS[family].control_tokens)) == family


def test_a_tokenizer_without_the_familys_tokens_is_refused() -> None:
    with pytest.raises(ModelError, match="fim_prefix"):
        get_format("qwen2.5-coder", tokenizer_with(()))
    with pytest.raises(ModelError, match="unknown model family"):
        get_format("nonsense", BYTES)


EXPECTED = {
    "qwen2.5-coder": f"<|repo_name|>demo\n<|file_sep|>lib/a.py\n{CODE}<|file_sep|>main.py\n"
    "<|fim_prefix|>import os\n<|fim_suffix|>)\nend\n<|fim_middle|>    x",
    "starcoder2": f"<repo_name>demo\n<file_sep>lib/a.py\n{CODE}<file_sep><fim_prefix>main.py\nimport os\n"
    "<fim_suffix>)\nend\n<fim_middle>    x",
    "starcoder": f"<reponame>demo\n<filename>lib/a.py\n{CODE}<filename>main.py\n"
    "<fim_prefix>import os\n<fim_suffix>)\nend\n<fim_middle>    x",
    "deepseek-coder": f"<｜begin▁of▁sentence｜>#lib/a.py\n{CODE}<｜fim▁begin｜>#main.py\nimport os\n"
    "<｜fim▁hole｜>)\nend\n<｜fim▁end｜>    x",
    "codellama": f"<s>▁<PRE># lib/a.py\n{CODE}# main.py\nimport os\n▁<SUF>)\nend\n▁<MID>    x",
    "codestral": f"<s>[SUFFIX])\nend\n[PREFIX]+++++ lib/a.py\n{CODE}+++++ main.py\nimport os\n    x",
    "smollm2": f"<repo_name>demo\n<file_sep>lib/a.py\n{CODE}<file_sep>main.py\nimport os\n    x",
    "plain": f"# lib/a.py\n{CODE}# main.py\nimport os\n    x",
}


@pytest.mark.parametrize("family", FORMATS)
def test_the_repository_layout_of_every_family(family: str) -> None:
    assert prompt_of(family, "repository").text == EXPECTED[family]


def test_chunks_after_the_suffix_and_in_the_prefix() -> None:
    fragment = "# the below code fragment can be found in:\n# lib/a.py\n# def helper():\n#     return 1\n\n"
    after = prompt_of("qwen2.5-coder", "after-suffix").text
    assert after == (f"<|fim_prefix|>import os\n<|fim_suffix|>)\nend\n\n{fragment}<|fim_middle|>    x")
    inside = prompt_of("qwen2.5-coder", "in-prefix").text
    assert inside == f"<|fim_prefix|>{fragment}import os\n<|fim_suffix|>)\nend\n<|fim_middle|>    x"
    code = prompt_of("qwen2.5-coder", "files-in-prefix").text
    file = "import os\n<|fim_suffix|>)\nend\n<|fim_middle|>    x"
    assert code == f"<|fim_prefix|># lib/a.py\n{CODE}\n{file}"
    assert prompt_of("qwen2.5-coder", "files-in-prefix", chunks=False).text == f"<|fim_prefix|>{file}"


@pytest.mark.parametrize("family", FORMATS)
def test_the_automatic_layout_is_one_that_the_family_can_have(family: str) -> None:
    chosen = writing_layout("auto", FORMATS[family])
    assert prompt_of(family, chosen).chunk_ids
    assert (chosen == "files-in-prefix") == (family not in ("smollm2", "plain"))


def test_a_layout_that_the_family_cannot_have_is_an_error() -> None:
    with pytest.raises(UsageError, match="after-suffix"):
        prompt_of("smollm2", "after-suffix")
    with pytest.raises(UsageError, match="unknown layout"):
        writing_layout("upside-down", FORMATS["qwen2.5-coder"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_control_tokens_in_source_text_stay_text(layout: str) -> None:
    name = "<|fim_middle|>"
    harmless = prompt_of("qwen2.5-coder", layout, prefix="x = 1\n", typed="y")
    hostile = prompt_of("qwen2.5-coder", layout, prefix=f"x = '{name}'\n", typed=f"{name}y")
    control = 300 + FORMATS["qwen2.5-coder"].control_tokens.index(name)
    assert hostile.token_ids.count(control) == harmless.token_ids.count(control)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(line=st.text(st.characters(codec="ascii", exclude_characters="\n\r"), min_size=1, max_size=20))
def test_typing_only_appends(layout: str, line: str) -> None:
    """Nothing before the typed part changes, key after key."""
    empty = prompt_of("qwen2.5-coder", layout, typed="")
    for length in range(1, len(line) + 1):
        typed = prompt_of("qwen2.5-coder", layout, typed=line[:length])
        assert common_prefix_length(empty.token_ids, typed.token_ids) == empty.num_tokens


def test_the_in_file_part_is_the_same_with_and_without_chunks() -> None:
    with_chunks, without = (prompt_of("qwen2.5-coder", "repository", chunks=c) for c in (True, False))
    assert (
        with_chunks.num_tokens - without.num_tokens
        == with_chunks.num_cross_file_tokens + len(b"lib/a.py\n") + 1
    )
    assert without.num_cross_file_tokens == 0


def test_healed_text_is_taken_out_of_the_ids_only() -> None:
    prompt = prompt_of("qwen2.5-coder", "repository", typed="    return self.fo")
    assert prompt.healed_text == "fo"
    assert prompt.segments[-1].role is SegmentRole.TYPED
    assert BYTES.decode(prompt.token_ids[-5:]) == "self."


# the in-file context


def request(prefix: str, suffix: str = "") -> CompletionRequest:
    return CompletionRequest("main.py", prefix, suffix, "python")


@example(prefix="\n\x80", suffix="", budget=1)  # not even a character of the line fits
@given(
    prefix=st.text(st.characters(codec="utf-8"), max_size=400),
    suffix=st.text(st.characters(codec="utf-8"), max_size=200),
    budget=st.integers(1, 120),
)
def test_the_cut_is_a_part_of_the_file_within_budget(prefix: str, suffix: str, budget: int) -> None:
    cut = cut_in_file(request(prefix, suffix), BYTES, budget, budget)
    if "�" not in prefix + suffix:
        assert prefix.endswith(cut.prefix + cut.typed)
        assert suffix.startswith(cut.suffix)
    assert len((cut.prefix + cut.typed).encode()) <= budget
    assert len(cut.suffix.encode()) <= budget
    assert "\n" not in cut.typed
    assert not cut.prefix or cut.prefix.endswith("\n")
    kept_lines = cut.prefix.count("\n")
    assert cut.start_line == prefix.count("\n") - kept_lines


def test_the_prefix_begins_at_an_anchor_and_stays_there_while_lines_are_added() -> None:
    lines = [f"line_{n} = {n}\n" for n in range(200)]
    starts = [cut_in_file(request("".join(lines[:n])), BYTES, 600, 10).start_line for n in range(100, 200)]
    assert all(start % ANCHOR_LINES == 0 for start in starts)
    moves = sum(a != b for a, b in itertools.pairwise(starts))
    assert moves <= 100 // ANCHOR_LINES + 1
    assert starts == sorted(starts)


def test_a_short_file_is_whole_and_a_giant_line_is_cut() -> None:
    assert cut_in_file(request("a\nb", "c\n"), BYTES, 100, 100) == InFileContext("a\n", "b", "c\n", 0)
    cut = cut_in_file(request("x" * 5000, "y" * 5000), BYTES, 100, 50)
    assert (len(cut.typed), len(cut.suffix)) == (100, 50)


def test_lines_of_megabytes_are_not_tokenized_to_their_ends() -> None:
    class Counting:
        encoded = 0

        def encode(self, text: str) -> list[int]:
            self.encoded += len(text)
            return BYTES.encode(text)

        def decode(self, token_ids: Sequence[int]) -> str:
            return BYTES.decode(token_ids)

    long, counting = "x" * 1_000_000, Counting()
    for prefix, suffix in ((long, long), (f"{long}\n", f"\n{long}"), (f"a\n{long}\nb", long)):
        cut = cut_in_file(request(prefix, suffix), cast(Tokenizer, counting), 100, 50)
        assert prefix.endswith(cut.prefix + cut.typed)
        assert suffix.startswith(cut.suffix)
    assert counting.encoded < 50_000


@given(st.integers(0, 100), st.integers(0, 40))
def test_the_hole_begins_at_an_anchor_above_the_cursor(line: int, hole_lines: int) -> None:
    text = "".join(f"{number}\n" for number in range(line)) + "    x"
    cut = cut_in_file(request(text, ")\n"), BYTES, 1000, 1000, hole_lines)
    above, in_hole = cut.split_at_hole()
    assert above + in_hole == cut.prefix + cut.typed == text
    assert cut.typed == "    x"  # for filters it stays the current line
    begin, lines = above.count("\n"), in_hole.count("\n")
    if hole_lines == 0:
        assert lines == 0
    else:
        assert begin % ANCHOR_LINES == 0
        assert min(hole_lines, line) <= lines < hole_lines + ANCHOR_LINES


def test_a_hole_is_no_longer_than_what_is_in_sight() -> None:
    text = "".join(f"line_{number}\n" for number in range(15)) + "x"
    cut = cut_in_file(request(text), BYTES, 30, 30, 4)
    assert cut.prefix == "line_12\nline_13\nline_14\n"
    assert cut.split_at_hole() == ("", cut.prefix + "x")


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"left-to-right"}))
def test_lines_typed_in_a_hole_only_append(layout: str) -> None:
    typed = ["", "x = 1\n", "x = 1\ny = 2\n"]
    prompts = [prompt_of("qwen2.5-coder", layout, lines_in_hole=lines, typed="") for lines in typed]
    for shorter, longer in itertools.pairwise(prompts):
        assert common_prefix_length(shorter.token_ids, longer.token_ids) == shorter.num_tokens
    assert prompts[-1].segments[-1].text == typed[-1]


def test_lines_are_split_at_line_feeds_only() -> None:
    cut = cut_in_file(request("a\x0cb\u2028c"), BYTES, 100, 100)
    assert (cut.prefix, cut.typed) == ("", "a\x0cb\u2028c")


# which chunks fit


def decision(
    rank: int,
    tokens: int,
    *,
    polarity: Polarity = Polarity.UNKNOWN,
    confidence: float = 1.0,
    keep: bool = True,
) -> FilterDecision:
    chunk = Chunk(f"{9 - rank}.py", "x" * tokens, 0, 1, "python")
    return FilterDecision(RetrievedChunk(chunk, 1.0, rank, "bm25"), keep, polarity, confidence, "")


def paths(chunks: list[Chunk]) -> list[str]:
    return [chunk.path for chunk in chunks]


def costs(layout: str = "repository", family: str = "qwen2.5-coder") -> Callable[[Chunk], int]:
    return lambda chunk: chunk_cost_tokens(parts_of(family), layout, chunk, BYTES)


def test_the_least_useful_chunks_are_dropped_whole() -> None:
    decisions = [decision(0, 100), decision(1, 200), decision(2, 50), decision(3, 10, keep=False)]
    fitting, dropped = select_chunks(decisions, costs(), 116 + 66, "best-last")
    assert paths(fitting) == ["7.py", "9.py"]  # rank 2, then rank 0 next to the code
    assert paths(dropped) == ["8.py"]


def test_sure_positives_come_before_ranks() -> None:
    decisions = [
        decision(0, 100, polarity=Polarity.POSITIVE, confidence=0.5),
        decision(1, 100, polarity=Polarity.POSITIVE, confidence=0.9),
    ]
    fitting, _ = select_chunks(decisions, costs(), 120, "position")
    assert paths(fitting) == ["8.py"]


def test_position_order_does_not_depend_on_scores() -> None:
    decisions = [decision(0, 5), decision(1, 5), decision(2, 5)]
    forward, _ = select_chunks(decisions, costs(), 1000, "position")
    backward, _ = select_chunks(decisions[::-1], costs(), 1000, "position")
    assert paths(forward) == paths(backward) == ["7.py", "8.py", "9.py"]
    with pytest.raises(UsageError, match="chunk order"):
        select_chunks(decisions, costs(), 1000, "random")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", ["qwen2.5-coder", "smollm2"])
@settings(max_examples=30)
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60), max_size=5),
    scope=st.one_of(st.none(), st.text("abc.", min_size=1, max_size=40)),
    budget=st.integers(0, 400),
)
@example(texts=["x = 1\n" * 9] * 4, scope="Order.total_amount_of_all", budget=300)
def test_chunks_never_exceed_their_budget(
    layout: str, family: str, texts: list[str], scope: str | None, budget: int
) -> None:
    if family == "smollm2" and layout == "after-suffix":
        return  # which it cannot have
    decisions = [
        FilterDecision(
            RetrievedChunk(Chunk(f"{i}.py", text, 0, 1, "python", "f", scope), 1.0, i, "bm25"),
            True,
            Polarity.UNKNOWN,
            1.0,
            "",
        )
        for i, text in enumerate(texts)
    ]
    fitting, _ = select_chunks(decisions, costs(layout, family), budget, "position")
    parts = parts_of(family, *fitting)
    prompt = build_prompt(parts, layout, tokenizer_with(parts.format.control_tokens))
    assert prompt.num_cross_file_tokens <= budget


def test_what_a_chunk_costs() -> None:
    """In the default layout its text and sixteen, as in all that was measured; elsewhere what is shown."""
    chunk = replace(CHUNK, scope="Order")
    assert costs("repository")(chunk) == costs("left-to-right")(chunk) == len(CODE) + 16
    assert costs("repository-scope")(chunk) == len("# in Order\n" + CODE) + 16
    header = "# the below code fragment can be found in:\n# lib/a.py\n"
    for layout in ("after-suffix", "in-prefix"):
        assert costs(layout)(chunk) == len(header + "# def helper():\n#     return 1\n\n")
    assert costs("in-prefix", "smollm2")(chunk) == len(CODE) + 16  # it reads left to right

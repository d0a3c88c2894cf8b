"""Golden files: `tests/cases/postprocess/LANGUAGE.cases` hold places with a cursor, outputs, results.

A case begins with ``=== RULE: title``, and RULE must have changed something where the result is not the
model's text; ``=== extent EXTENT: title`` says how much is asked for at a place.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codefilter.languages import LANGUAGES, TEXT
from codefilter.postprocess import Extent, Place, clean, extent_of, parsing_first, without_closed
from codefilter.postprocess.cleaning import RULES
from codefilter.types import CompletionRequest

CASES = Path(__file__).parent / "cases" / "postprocess"
CURSOR = "▮"
NAMES = [*(language.name for language in LANGUAGES), TEXT]


class Case(NamedTuple):
    language: str
    title: str
    place: Place
    model: str
    is_cut_off: bool
    result: str


def read_cases() -> list[Case]:
    cases = []
    for path in sorted(CASES.glob("*.cases")):
        for part in re.split(r"^=== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            title, _, body = part.partition("\n")
            code, *rest = re.split(r"^--- (.*)\n", body.removesuffix("\n"), flags=re.MULTILINE)
            before, cursor, after = code.partition(CURSOR)
            assert cursor, title
            place = Place(before, after, path.stem)
            headings, texts = rest[::2], [text.removesuffix("\n") for text in rest[1::2]]
            model, result = texts or ("", "")
            cases.append(Case(path.stem, title, place, model, headings[:1] == ["model (cut off)"], result))
    return cases


ALL = read_cases()
EXTENTS = [case for case in ALL if case.title.startswith("extent ")]
CLEANED = [case for case in ALL if case not in EXTENTS]


def name_of(case: Case) -> str:
    return f"{case.language}: {case.title}"


@pytest.mark.parametrize("case", CLEANED, ids=name_of)
def test_golden(case: Case) -> None:
    cleaned = clean(case.place, case.model, cut_off=case.is_cut_off)
    assert cleaned.text == case.result
    rule = case.title.partition(":")[0]
    assert rule in RULES
    assert (rule in cleaned.rules) is (case.result != case.model)
    assert bool(cleaned.reason) is (case.result == "")


@pytest.mark.parametrize("case", CLEANED, ids=name_of)
def test_what_was_cleaned_is_clean(case: Case) -> None:
    assert clean(case.place, case.result).text == case.result


@pytest.mark.parametrize("case", EXTENTS, ids=name_of)
def test_extents(case: Case) -> None:
    assert extent_of(case.place) == Extent(case.title.partition(":")[0].removeprefix("extent "))


@pytest.mark.parametrize("language", NAMES)
def test_every_language_has_a_case_for_every_rule(language: str) -> None:
    covered = {case.title.partition(":")[0] for case in CLEANED if case.language == language}
    assert covered == set(RULES)
    assert any(case.language == language for case in EXTENTS)


def test_candidates_that_parse_come_first() -> None:
    place = Place("def f(a):\n    return (", ")\n", "python")
    assert parsing_first(place, ["a +", "a", "", "a", "a + 1"]) == ["a", "a + 1", "a +"]


def test_a_place_is_cut_at_line_starts() -> None:
    line = "value = compute(1)\n"
    request = CompletionRequest("a.py", line * 3000 + "val", "ue\n" + line * 3000, "python")
    place = Place.of(request)
    assert place.typed == "val"
    assert place.before.startswith("value")
    assert place.after.endswith(")\n")
    assert len(place.before) + len(place.after) < 25_000


def test_a_place_in_an_endless_line_is_in_its_middle() -> None:
    text = "f(1), " * 5000
    place = Place.of(CompletionRequest("a.js", "[" + text, text + "]", "javascript"))
    assert extent_of(place) is Extent.WITHIN_LINE
    assert place.rest.startswith("f(1), ")
    assert place.typed.endswith("f(1), ")
    assert len(place.before) + len(place.after) < 25_000
    at_its_end = Place.of(CompletionRequest("a.js", "[" + text, "\n" + text, "javascript"))
    assert extent_of(at_its_end) is Extent.LINE


code = st.text(st.sampled_from("abx ()[]{}:;,.\"'`#/\\\n\t😀é0=<>|"), max_size=80)


@settings(max_examples=300)
@given(before=code, after=code, model=code, language=st.sampled_from(NAMES), cut_off=st.booleans())
def test_any_text_at_any_place(before: str, after: str, model: str, language: str, cut_off: bool) -> None:
    place = Place(before, after, language)
    extent_of(place)
    cleaned = clean(place, model, cut_off=cut_off).text
    if extent_of(place) is Extent.WITHIN_LINE:
        assert "\n" not in cleaned
    # no rule writes: but for white space, what is left stands in the model's text
    squeezed = "".join(cleaned.split())
    assert squeezed in "".join(model.split())
    assert cleaned == "" or len(cleaned.strip()) > 1


@pytest.mark.parametrize(
    ("suffix", "left"),
    [
        (")\nend\n", "\nend\n"),
        ("])  \nend\n", "  \nend\n"),
        (")", ""),
        (") + 1\n", ") + 1\n"),
        ("):\n", "):\n"),
        ("})\n", "})\n"),
        ('")\n', '")\n'),
        ("\n)\n", "\n)\n"),
        ("", ""),
    ],
)
def test_brackets_alone_behind_the_cursor_are_not_asked_about(suffix: str, left: str) -> None:
    request = CompletionRequest("a.py", "x = f(", suffix, "python")
    assert without_closed(request) == CompletionRequest("a.py", "x = f(", left, "python")

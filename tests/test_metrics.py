"""The three metric families on hand-made cases, against plain reimplementations, and on any text."""

import keyword
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codefilter.errors import UsageError
from codefilter.metrics import FAMILIES, Scores, is_valid_in_place, needs_prompt, score, summarize
from codefilter.metrics.crosscodeeval import first_statement
from codefilter.metrics.identifiers import identifier_f1, identifiers
from codefilter.metrics.repoformer import (
    fuzzy_ratio,
    levenshtein_similarity,
    longest_parsable_prefix,
    tokenize,
)
from codefilter.metrics.syntax import function_bodies, has_error_node
from codefilter.types import CompletionRequest, CompletionTask, Provenance, TaskLevel


def task_of(
    target: str,
    *,
    prefix: str = "",
    suffix: str = "",
    level: TaskLevel = TaskLevel.LINE,
    language: str = "python",
) -> CompletionTask:
    return CompletionTask(
        task_id="owner_repo/0",
        repository="owner_repo",
        request=CompletionRequest("a.py", prefix, suffix, language),
        target=target,
        level=level,
        provenance=Provenance("owner_repo", "", "a.py", 0, 1, ""),
    )


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance, the textbook way."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (x != y)))
    return row[-1]


def common_subsequence(a: str, b: str) -> int:
    """Length of the longest common subsequence, the textbook way."""
    row = [0] * (len(b) + 1)
    for x in a:
        previous, row = row, [0]
        for j, y in enumerate(b):
            row.append(previous[j] + 1 if x == y else max(previous[j + 1], row[-1]))
    return row[-1]


lines = st.lists(st.text(alphabet=" abX_.=()#\"'", max_size=12), max_size=5).map("\n".join)


class TestRepoCoder:
    @pytest.mark.parametrize(
        ("target", "prediction", "exact", "similarity"),
        [
            ("return a + b", "return a + b", True, 100.0),
            ("    return a + b", "return a + b\nanything", True, 100.0),  # cut to one line, white space off
            ("a = 1\n\n  b = 2", "\n a = 1\nb = 2\nc = 3", True, 100.0),  # blank lines do not count
            ("kitten", "sitting", False, 100 * (1 - 3 / 7)),
            ("a = 1\nb = 2", "a = 1", False, 100 * (1 - 6 / 11)),  # "\nb = 2" is missing
            ("abc", "", False, 0.0),
            ("", "anything", True, 100.0),  # nothing is asked for: the prediction is cut to nothing
            ("a\x0cb", "a\nb", True, 100.0),  # a form feed ends a line too
            ("größe", "grösse", False, 100 * (1 - 2 / 6)),  # characters, not bytes
        ],
    )
    def test_by_hand(self, target: str, prediction: str, exact: bool, similarity: float) -> None:
        scores = score("repocoder", prediction, task_of(target))
        assert scores.exact_match is exact
        assert scores.edit_similarity == pytest.approx(similarity)
        assert scores.levenshtein_similarity == scores.edit_similarity

    @given(lines, lines)
    def test_equals_the_definition(self, target: str, prediction: str) -> None:
        wanted = [line.strip() for line in target.splitlines() if line.strip()]
        found = [line.strip() for line in prediction.splitlines() if line.strip()][: len(wanted)]
        a, b = "\n".join(wanted), "\n".join(found)
        scores = score("repocoder", prediction, task_of(target))
        assert scores.exact_match == (wanted == found)
        if a or b:
            assert scores.edit_similarity == pytest.approx(
                100 * (1 - edit_distance(a, b) / max(len(a), len(b)))
            )

    @given(lines, lines)
    def test_an_exact_match_is_wholly_similar(self, target: str, prediction: str) -> None:
        scores = score("repocoder", prediction, task_of(target))
        assert scores.exact_match == (scores.edit_similarity == 100.0)


class TestRepoformer:
    @pytest.mark.parametrize(
        ("code", "tokens"),
        [
            ("getUserName('x')", ["get", "User", "Name", "(", "`", "x", "`", ")"]),
            ('a_b  =\n\tc1D "', ["a_b", "=", "c1D", "`"]),  # only a small letter before a capital splits
            ("größe", ["gr", "ö", "ß", "e"]),  # letters outside ASCII are symbols
            (" \n", []),
        ],
    )
    def test_tokens_by_hand(self, code: str, tokens: list[str]) -> None:
        assert tokenize(code) == tokens

    @pytest.mark.parametrize(
        ("prediction", "target", "ratio"),
        [
            ("abc", "abc", 100.0),
            ("ab", "b", 67.0),  # 2 · 1 / 3 = 66.67
            ("abcdefgh", "abcdeXYZ", 62.0),  # 10 / 16 = 62.5: Python rounds halves to even
            ("abcdefgh", "abcdefgX", 88.0),  # 14 / 16 = 87.5
            (" abc\n", "abc", 100.0),
            ("", "", 100.0),
            ("", "abc", 0.0),
        ],
    )
    def test_ratio_by_hand(self, prediction: str, target: str, ratio: float) -> None:
        assert fuzzy_ratio(prediction, target) == ratio

    @given(st.text(max_size=20), st.text(max_size=20))
    def test_ratio_is_symmetric_and_the_share_of_the_common_subsequence(self, a: str, b: str) -> None:
        assert fuzzy_ratio(a, b) == fuzzy_ratio(b, a)
        a, b = a.strip(), b.strip()
        share = 2 * common_subsequence(a, b) / (len(a) + len(b)) if a or b else 1.0
        assert abs(fuzzy_ratio(a, b) - 100 * share) <= 0.5 + 1e-9

    @given(st.text(max_size=20), st.text(max_size=20))
    def test_levenshtein_is_symmetric_within_bounds(self, a: str, b: str) -> None:
        assert levenshtein_similarity(a, b) == levenshtein_similarity(b, a)
        assert 0.0 <= levenshtein_similarity(a, b) <= 100.0

    def test_lines_are_cut_to_the_targets_number(self) -> None:
        target = "    a = f(\n\n        1)"
        scores = score("repoformer", "\n    a = f(\n        1)\n    b = 2", task_of(target))
        assert scores.compared == "    a = f(\n        1)"
        assert scores.exact_match  # white space is no token
        assert scores.edit_similarity == 97.0  # the blank line: 2 · 17 / (17 + 18) = 97.14
        assert scores.levenshtein_similarity == pytest.approx(100 * (1 - 1 / 18))

    def test_quotes_count_as_the_same_for_a_match_only(self) -> None:
        scores = score("repoformer", "f('x')", task_of('f("x")'))
        assert scores.exact_match
        assert scores.edit_similarity == 67.0  # 2 · 4 / 12
        assert scores.levenshtein_similarity == pytest.approx(100 * (1 - 2 / 6))

    def test_two_empty_texts_have_no_levenshtein_similarity_as_released(self) -> None:
        scores = score("repoformer", "", task_of(""))
        assert (scores.exact_match, scores.edit_similarity, scores.levenshtein_similarity) == (True, 100, 0)

    def test_a_function_is_cut_where_it_still_parses_and_its_body_is_compared(self) -> None:
        prefix = 'class A:\n    def f(self, a):\n        """Add one."""\n'
        body = "        b = a + 1\n        return b"
        task = task_of(body, prefix=prefix, level=TaskLevel.FUNCTION)
        scores = score("repoformer", f"{body}\n\n    def g(self, (x", task)
        assert scores.exact_match
        assert scores.compared == '"""Add one."""\n' + body  # the whole block, docstring and all
        assert scores.edit_similarity == 100.0

    def test_what_follows_the_function_is_not_compared(self) -> None:
        task = task_of("    return a", prefix="def f(a):\n", level=TaskLevel.FUNCTION)
        assert score("repoformer", "    return a\n\n\nprint(f(1))\n", task).compared == "return a"
        assert not score("repoformer", "    return b\n\n\ndef f(a):\n    return a\n", task).exact_match

    def test_a_prompt_that_never_parses_leaves_the_texts_alone(self) -> None:
        task = task_of("    return a", prefix="def f(a)) ->:\n", level=TaskLevel.FUNCTION)
        scores = score("repoformer", "    return a\n    more", task)
        assert scores.compared == "    return a\n    more"
        assert not scores.exact_match

    def test_the_longest_beginning_that_parses(self) -> None:
        assert longest_parsable_prefix("x = ", "f(1)\ny = (", "python") == "f(1)\ny"
        assert longest_parsable_prefix("x = (", "", "python") is None

    def test_bodies_come_in_the_order_in_which_functions_begin(self) -> None:
        code = "def f():\n    def g():\n        a\n    b\nclass C:\n    def h(s): c\n"
        assert function_bodies(code, "python") == ["def g():\n        a\n    b", "a", "c"]


class TestCrossCodeEval:
    @pytest.mark.parametrize(
        ("language", "prompt", "completion", "statement"),
        [
            ("python", "x = ", "foo(1)\ny = 2", "foo(1)"),
            ("python", "x = ", "foo(\n    1)\ny = 2\n", "foo(\n    1)"),  # a line end within the call is none
            ("python", "def f():\n    return ", "a  \n\n    b", "a"),
            ("python", "x = ", "foo(1)", "foo(1)"),  # no line end: all of it
            ("python", "x = ", "foo(1\ny = 2\n", "foo(1\ny = 2\n"),  # never parses: all of it
            ("python", "x = 1", "\ny = 2\nz = 3", "\ny = 2"),  # a line end at the very beginning is none
            ("java", "int n = ", "s.count();\nreturn n;", "s.count();"),
            ("typescript", "if (a) ", "{ return b; }", "{ return b; }"),  # as released: not at the beginning
            ("csharp", "if ", "(a) { return; }", "(a) {"),
            ("csharp", "x = ", "y", "y"),
        ],
    )
    def test_statements_by_hand(self, language: str, prompt: str, completion: str, statement: str) -> None:
        assert first_statement(prompt, completion, language) == statement

    def test_comments_are_removed_from_both_texts(self) -> None:
        task = task_of("run(a)  # go", prefix="x = ")
        scores = score("crosscodeeval", "run(a)  # stop\ny = 2", task)
        assert scores.exact_match
        assert scores.edit_similarity == 100.0
        halves = score("crosscodeeval", "a // b", task_of("a // c", prefix="x = "))
        assert halves.exact_match  # "//" begins a comment in Python too, as released

    def test_lines_are_compared_without_white_space_around_them(self) -> None:
        task = task_of("foo(\n    a,\n)", prefix="x = ")
        scores = score("crosscodeeval", "foo(\n\n  a,\n  )\n", task)
        assert scores.exact_match
        assert scores.edit_similarity < 100  # but not for the similarity

    def test_identifiers_by_hand(self) -> None:
        assert identifiers('for a in range(a, 3): print(\'b c\', "d\\"e", True, None)', "python") == [
            "a",
            "range",
            "a",
            "print",
            "True",
        ]
        assert identifiers("final int n1 = null;", "java") == ["n1", "null"]
        assert identifiers("int n = null; true", "csharp") == ["n", "true"]
        assert identifiers("const größe = 1", "typescript") == ["größe"]
        assert identifiers("func main", "go") == ["func", "main"]  # not one of the four languages

    def test_identifier_figures_by_hand(self) -> None:
        scores = score("crosscodeeval", "f(a, b)", task_of("f(a, c)", prefix="x = "))
        assert not scores.identifier_exact_match
        assert scores.identifier_f1 == pytest.approx(100 * 2 * 2 / (2 * 2 + 1 + 1))
        swapped = score("crosscodeeval", "f(b, a)", task_of("f(a, b)", prefix="x = "))
        assert not swapped.identifier_exact_match  # the lists differ, the sets do not
        assert swapped.identifier_f1 == 100.0
        assert identifier_f1([], []) == 0.0  # as released

    @given(st.lists(st.sampled_from("abcd")), st.lists(st.sampled_from("abcd")))
    def test_f1_is_the_harmonic_mean_of_precision_and_recall(
        self, found: list[str], wanted: list[str]
    ) -> None:
        both = len(set(found) & set(wanted))
        if both:
            precision, recall = both / len(set(found)), both / len(set(wanted))
            expected = 100 * 2 * precision * recall / (precision + recall)
            assert identifier_f1(found, wanted) == pytest.approx(expected)
        else:
            assert identifier_f1(found, wanted) == 0.0

    @given(st.text(alphabet="ab1_ '\".(", max_size=40))
    def test_identifiers_are_names_outside_of_strings(self, code: str) -> None:
        names = identifiers(code, "python")
        assert all(re.fullmatch(r"[a-zA-Z_]\w*", name) and not keyword.iskeyword(name) for name in names)
        if "'" not in code and '"' not in code:
            assert names == re.findall(r"(?<!\w)[a-zA-Z_]\w*", code)


@pytest.mark.parametrize("family", FAMILIES)
class TestEveryFamily:
    @settings(max_examples=40)
    @given(target=lines, prediction=lines, level=st.sampled_from(TaskLevel))
    def test_any_text_gives_figures_within_bounds(
        self, family: str, target: str, prediction: str, level: TaskLevel
    ) -> None:
        task = task_of(target, prefix="def f(a):\n", level=level)
        scores = score(family, prediction, task)
        for figure in (scores.edit_similarity, scores.levenshtein_similarity, scores.identifier_f1):
            assert 0.0 <= figure <= 100.0
        assert score(family, prediction, task) == scores

    @settings(max_examples=40)
    @given(prediction=st.text(max_size=60), language=st.sampled_from(["python", "java", "go", "text"]))
    def test_odd_characters_do_no_harm(self, family: str, prediction: str, language: str) -> None:
        score(family, prediction, task_of("x = 1", prefix="\x00\ud800", language=language))

    @pytest.mark.parametrize("level", TaskLevel)
    def test_the_truth_is_an_exact_match(self, family: str, level: TaskLevel) -> None:
        target = "    b = a + 1" if family == "crosscodeeval" else "    b = a + 1\n    return [b]"
        task = task_of(target, prefix="def f(a):\n", suffix="\n", level=level)
        for prediction in (target, f"{target}\n"):
            scores = score(family, prediction, task)
            assert scores.exact_match
            assert scores.edit_similarity == 100.0
            assert scores.identifier_exact_match
            assert scores.identifier_f1 == 100.0

    def test_a_wrong_prediction_is_worse(self, family: str) -> None:
        task = task_of("    b = a + 1", prefix="def f(a):\n")
        near, far = score(family, "    b = a + 2\n", task), score(family, "    raise ValueError\n", task)
        assert not near.exact_match
        assert near.edit_similarity > far.edit_similarity


def test_families_that_parse_need_the_prompt() -> None:
    python, java = task_of("x"), task_of("x", language="java")
    function = task_of("x", level=TaskLevel.FUNCTION)
    assert list(FAMILIES) == ["repocoder", "repoformer", "crosscodeeval"]
    assert [needs_prompt(family, python) for family in FAMILIES] == [False, False, True]
    assert [needs_prompt(family, java) for family in FAMILIES] == [False, False, False]
    assert [needs_prompt(family, function) for family in FAMILIES] == [False, True, True]


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(UsageError, match="bleu") as error:
        score("bleu", "x", task_of("x"))
    assert "repocoder" in error.value.hint


def test_means_are_rounded_as_released() -> None:
    rows = [Scores(True, 100.0, 100.0, True, 100.0, ""), *[Scores(False, 50.0, 33.333, False, 0.0, "")] * 2]
    summary = summarize(rows)
    assert summary.num_predictions == 3
    assert summary.exact_match == 33.33
    assert summary.edit_similarity == 66.67
    assert summary.levenshtein_similarity == 55.56  # 166.666 / 3 = 55.555
    assert summary.identifier_f1 == 33.33
    with pytest.raises(ValueError, match="no scores"):
        summarize([])


def test_released_validity_overlooks_missing_tokens_and_ours_does_not() -> None:
    assert not has_error_node("def f(:\n    pass\n", "python")
    assert has_error_node("x = (1\n", "python")
    task = task_of("def f():", suffix="\n    pass\n")
    assert is_valid_in_place("def f(:", task) is False
    assert is_valid_in_place("def g(a):", task) is True


def test_validity_in_place_looks_at_both_sides() -> None:
    task = task_of("1", prefix="x = f(", suffix=")\n")
    assert is_valid_in_place("2, 3", task) is True
    assert is_valid_in_place("2)", task) is False  # right by itself, wrong before what follows
    assert is_valid_in_place("", task) is True


def test_validity_in_place_forgives_what_was_broken_before() -> None:
    broken = task_of("x = 1", suffix="\nprint 'two'\n\ndef f(:\n")
    assert is_valid_in_place("y = 2", broken) is True
    assert is_valid_in_place("y = (2", broken) is False
    assert is_valid_in_place("anything", task_of("x", language="text")) is None

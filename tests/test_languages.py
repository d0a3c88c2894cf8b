"""Definitions, imports and identifiers of every language; what never happens on any text."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codefilter.languages import (
    LANGUAGES,
    ImportedName,
    definitions,
    get_language,
    has_syntax_error,
    identifiers,
    imports,
    language_of,
    line_comment,
    parse,
    table,
)

CASES = Path(__file__).parent / "cases" / "languages"
NAMES = [language.name for language in LANGUAGES]


def describe(text: str, language: str) -> str:
    """Definitions (lines 0-based, half-open) and imports, one per line."""
    lines = [
        f"{item.kind:<10} {item.qualified_name:<32} {item.start_line}-{item.end_line} name {item.name_line}"
        for item in definitions(text, language)
    ]
    lines += [
        f"import     {item.name:<32} {item.original or '-'} of {item.module}"
        for item in imports(text, language)
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("language", NAMES)
def test_sample(language: str) -> None:
    text = (CASES / f"{language}.sample").read_text(encoding="utf-8")
    assert not has_syntax_error(text, language)
    assert describe(text, language) == (CASES / f"{language}.expected").read_text(encoding="utf-8")
    for item in definitions(text, language):
        assert item.qualified_name == (f"{item.scope}.{item.name}" if item.scope else item.name)
        assert item.start_line <= item.name_line < item.end_line


# --- names of files and languages ---


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b.py", "python"),
        ("a.pyi", "python"),
        ("SConstruct", "python"),
        ("x.MJS", "javascript"),
        ("x.tsx", "tsx"),
        ("x.mts", "typescript"),
        ("x.h", "c"),
        ("x.hpp", "cpp"),
        ("x.cs", "csharp"),
        ("README.md", "text"),
        ("py", "text"),
        (".py", "text"),
        ("", "text"),
    ],
)
def test_language_of(path: str, language: str) -> None:
    assert language_of(path) == language


C_HEADER = """#ifndef SHOP_H
#define SHOP_H
#ifdef __cplusplus
extern "C" {
#endif
#define LIMIT 10
/* The class of a price: what using it costs,
   public or private. */
typedef struct { int cents; } Price;
struct order { struct order *next; };
int price_of(const Price *price);
SHOP_API(Price *) cheapest(struct order *first);
#ifdef __cplusplus
}
#endif
#endif
"""
CPP_HEADERS = {
    "namespace shop {\nint count();\n}\n": ["shop.count"],
    "namespace shop\n{\nstruct A { void f(); };\n}\n": ["shop.A", "shop.A.f"],
    "class Order final : public Item {\n public:\n  int total() const;\n};\n": [
        "Order",
        "Order.total",
    ],
    "struct Order {\n private:\n  int cents;\n};\n": ["Order", "Order.cents"],
    "enum class Color { RED };\n": ["Color", "Color.RED"],
    "template <typename T>\nT twice(T value) { return value + value; }\n": ["twice"],
    "using Price = long;\n": ["Price"],
    "struct Order { std::string name() const; };\n": ["Order", "Order.name"],
}


def test_c_headers_keep_what_they_define() -> None:
    language = language_of("shop.h", C_HEADER)
    names = {item.qualified_name for item in definitions(C_HEADER, language)}
    assert language == "c"
    assert {"LIMIT", "Price", "Price.cents", "order", "order.next", "price_of", "cheapest"} <= names


@pytest.mark.parametrize(("text", "names"), CPP_HEADERS.items())
def test_cpp_headers_define_classes_and_namespaces(text: str, names: list[str]) -> None:
    language = language_of("include/SHOP.H", text)
    assert language == "cpp"
    assert [item.qualified_name for item in definitions(text, language)] == names
    assert language_of("shop.c", text) == "c"


@pytest.mark.parametrize("piece", ["class a\n", "namespace\n", "using\n", "public\n", "template\n"])
def test_a_hostile_header_costs_little(piece: str) -> None:
    start = time.thread_time()
    assert language_of("a.h", piece * (300_000 // len(piece))) == "c"
    assert time.thread_time() - start < 5


def test_no_suffix_belongs_to_two_languages() -> None:
    suffixes = [suffix for language in LANGUAGES for suffix in language.suffixes]
    assert len(suffixes) == len(set(suffixes))


def test_line_comment() -> None:
    assert (line_comment("python"), line_comment("rust"), line_comment("text")) == ("#", "//", "#")
    assert get_language("text") is None


def test_grammars_are_imported_when_used() -> None:
    script = (
        "import sys, codefilter.languages as l\n"
        "assert not [m for m in sys.modules if m.startswith('tree_sitter_')]\n"
        "l.parse('x', 'go')\n"
        "names = {m.split('.')[0] for m in sys.modules if m.startswith('tree_sitter_')}\n"
        "assert names == {'tree_sitter_go'}, names\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize(
    "change",
    [
        {"grammar": "tree_sitter_missing:language"},
        {"grammar": "tree_sitter_go:no_such_function"},
        {"grammar": "tree_sitter_go:__doc__"},
        {"queries": ("python.scm",)},
    ],
)
def test_a_language_whose_grammar_does_not_load_is_cut_like_text(
    change: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(table._BY_NAME, "go", replace(table._BY_NAME["go"], **change))
    text = f"package shop // {change}\n\nfunc Total() {{}}\n"
    assert parse(text, "go") is None
    assert not has_syntax_error(text, "go")
    assert definitions(text, "go") == identifiers(text, "go") == []
    assert imports(text, "go") == ()


# --- imports ---


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import a", [("a", None, "a")]),
        ("import a.b, c.d as e", [("a", None, "a.b"), ("e", None, "c.d")]),
        ("from a import b as c, d", [("c", "b", "a"), ("d", "d", "a")]),
        ("from . import x as y", [("y", "x", ".")]),
        ("from ..a.b import (\n  c,  # why\n  d,\n)", [("c", "c", "..a.b"), ("d", "d", "..a.b")]),
        ("from .a import *", [("*", None, ".a")]),
        ("from __future__ import annotations", []),
        ("def f():\n    import a", [("a", None, "a")]),
        ("import = from", []),
    ],
)
def test_python_imports(line: str, expected: list[tuple[str, str | None, str]]) -> None:
    assert imports(line, "python") == tuple(ImportedName(*item) for item in expected)


# --- identifiers ---


def test_identifiers_of_a_range_of_lines() -> None:
    text = "import os\nx = os.path.join(a, 'b')  # c\nfor y in x:\n    print(y)\n"
    assert identifiers(text, "python", 1, 3) == ["x", "os", "path", "join", "a", "y", "x"]
    assert identifiers(text, "python", 3) == ["print", "y"]
    assert identifiers(text, "python", 2, 2) == []
    assert identifiers(text, "text") == []


@pytest.mark.parametrize(
    ("language", "line", "expected"),
    [
        ("javascript", "const {a, b: c} = this.#d.e({f, g: 1});", "a b c #d e f g"),
        ("typescript", "let x: Map<K, V> = y as Z;", "x Map K V y Z"),
        ("java", "List<A> b = c.d(E.f);", "List A b c d E f"),
        ("go", "x := pkg.Fn(y.z, &T{a: 1})", "x pkg Fn y z T a"),
        ("rust", "let x: Vec<T> = a::b(y.z, S { w });", "x Vec T a b y z S w"),
        ("c", "struct s *p = f(a->b, (T)c);", "s p f a b T c"),
        ("cpp", "ns::T x = a.b<U>(c);", "ns T x a b U c"),
        ("csharp", "var x = a.B<C>(d: e);", "x a B C d e"),
    ],
)
def test_identifiers_by_language(language: str, line: str, expected: str) -> None:
    found = identifiers(line, language)
    assert [name for name in found if name not in {"var"}] == expected.split()


def test_identifiers_survive_a_hole_in_the_code() -> None:
    text = "def f(client, request):\n    answer = client.send(request.\n\n\ndef g():\n    return 1\n"
    assert has_syntax_error(text, "python")
    assert identifiers(text, "python", 1, 2) == ["answer", "client", "send", "request"]


# --- any text ---

_WORDS = """def class fn func impl struct enum namespace template < > { } ( ) [ ] : ; , . = import from use
include # @ " ' ` // /* */ \\ self x y Foo async => -> :: 0 ${ } <div> </div>"""
_SPACES = ["\n", "\n    ", " ", "\t", "\r", "\f", "\0", "\u2028", "\ufeff"]
_FRAGMENTS = st.sampled_from([*_WORDS.split(), *_SPACES, "\ud800", "é", "字", "'''", '"""'])
ANY_TEXT = st.one_of(st.text(max_size=200), st.lists(_FRAGMENTS, max_size=80).map("".join))


@settings(max_examples=400)
@given(text=ANY_TEXT, language=st.sampled_from([*NAMES, "text", "nonsense"]))
def test_any_text_is_understood_somehow(text: str, language: str) -> None:
    num_lines = text.count("\n") + 1
    for item in definitions(text, language):
        assert item.name
        assert 0 <= item.start_line <= item.name_line < num_lines
        assert item.name_line < item.end_line <= num_lines
    for imported in imports(text, language):
        assert imported.name
    identifiers(text, language, 0, 3)
    assert isinstance(has_syntax_error(text, language), bool)


@pytest.mark.parametrize("separator", ["\f", "\x0b", "\x1c", "\u2028", "\x85", "\r", "\0"])
def test_only_line_feeds_end_a_line(separator: str) -> None:
    text = f"# a{separator}b\nx = '{separator}'\ndef f():\n    pass\n"
    (found,) = (item for item in definitions(text, "python") if item.name == "f")
    assert (found.name_line, found.end_line) == (2, 4)


def test_columns_in_bytes_do_not_matter() -> None:
    text = "名前 = '字字字字'\nclass Größe:\n    def é(self): return self.ü\n"
    assert [item.qualified_name for item in definitions(text, "python")] == ["名前", "Größe", "Größe.é"]
    assert identifiers(text, "python", 2, 3) == ["é", "self", "self", "ü"]


@pytest.mark.parametrize(
    ("language", "piece"),
    [
        ("javascript", "->"),
        ("java", "a<"),
        ("csharp", "a<"),
        ("java", "%async (?"),
        ("python", "("),
        ("c", ":*"),
    ],
)
def test_a_text_that_is_no_source_at_all_is_given_up(language: str, piece: str) -> None:
    text = piece * 50_000  # minutes, or more memory than there is, without the limits
    start = time.thread_time()
    assert parse(text, language) is None
    assert time.thread_time() - start < 5
    assert has_syntax_error(text, language)
    assert definitions(text, language) == []


@pytest.mark.parametrize("language", NAMES)
def test_deep_nesting_is_no_recursion(language: str) -> None:
    for text in ("(" * 3_000, "(" * 20_000 + ")" * 20_000, "{\n" * 3_000):
        definitions(text, language)
        identifiers(text, language)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_parsing_keeps_no_text() -> None:
    """tree-sitter's binding forgets to free what a callback returned; an editor parses all day."""

    def resident_pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    text = "value = 1\n" * 5_000  # 50 kB
    before = 0
    for number in range(250):
        if number == 50:
            before = resident_pages()
        assert parse(f"{text}last = {number}\n", "python") is not None
    assert (resident_pages() - before) * os.sysconf("SC_PAGE_SIZE") < 200 * len(text) / 2

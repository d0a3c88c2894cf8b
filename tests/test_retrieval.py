"""Retrievers against reference implementations and hand-computed values."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from codefilter.chunking import ChunkOptions
from codefilter.index import RepositoryIndex
from codefilter.index.terms import terms
from codefilter.languages import language_of
from codefilter.retrieval.base import RetrievalQuery
from codefilter.retrieval.bm25 import Bm25Retriever, Bm25Scores
from codefilter.retrieval.definitions import DefinitionsRetriever
from codefilter.retrieval.hybrid import HybridRetriever
from codefilter.retrieval.jaccard import JaccardRetriever
from codefilter.retrieval.modules import Nearness, module_reference
from codefilter.retrieval.query import QueryOptions, query_text
from codefilter.retrieval.ranking import best_slots
from codefilter.retrieval.reference import ReferenceBm25Retriever
from codefilter.types import Chunk, CompletionRequest, RetrievedChunk

ONE_LINE_CHUNKS = ChunkOptions(target_lines=1, max_lines=1, min_lines=1)


def make_index(root: Path, files: dict[str, str], **arguments: object) -> RepositoryIndex:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return RepositoryIndex.open(root, **arguments)  # type: ignore[arg-type]


def make_query(
    prefix: str, suffix: str = "", path: str = "here.py", in_file_start_line: int = 0
) -> RetrievalQuery:
    request = CompletionRequest(path, prefix, suffix, language_of(path))
    return RetrievalQuery(request, in_file_start_line)


def places(found: list[RetrievedChunk]) -> list[tuple[str, int]]:
    return [(candidate.chunk.path, candidate.chunk.start_line) for candidate in found]


# --- the query


def test_the_query_is_the_lines_around_the_hole() -> None:
    request = make_query("one\n\n  \ntwo\nthree\nfour = fi", "ve\n\nsix\nseven\n").request
    assert query_text(request, QueryOptions(3, 2)) == "two\nthree\nfour = fi\nve\nsix"
    assert query_text(request, QueryOptions(0, 0)) == ""
    assert query_text(request, QueryOptions(2, 0)) == "three\nfour = fi"
    assert query_text(request) == "one\ntwo\nthree\nfour = fi\nve\nsix\nseven"
    assert query_text(make_query("").request) == ""


# --- BM25

WORDS = st.sampled_from(["alpha", "beta", "gammaRay", "delta_ray", "ray", "x", "def", "7"])
LINES = st.lists(WORDS, max_size=6).map(" ".join)
CORPORA = st.dictionaries(
    st.sampled_from(["a.txt", "b.txt", "c.py", "d/e.py"]),
    st.lists(LINES, min_size=1, max_size=12).map("\n".join).filter(str.strip),
    min_size=1,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corpus=CORPORA, query=st.lists(WORDS, max_size=12), chunker=st.sampled_from(["syntax", "window"]))
def test_bm25_is_rank_bm25(
    corpus: dict[str, str], query: list[str], chunker: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    options = ChunkOptions(1, 2, 1, window_lines=2, window_step_lines=1)
    index = make_index(tmp_path_factory.mktemp("r"), corpus, chunker=chunker, options=options)
    assert_equals_rank_bm25(index, " ".join(query))


def test_bm25_is_rank_bm25_after_changes(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    index.update_file("shop/orders.py", "def total_amount(order):\n    return order.total\n")
    index.update_file("shop/more.py", "class Price:\n    tax: float\n" * 5)
    index.remove_file("README.md")
    assert_equals_rank_bm25(index, "def print_report(order): return price_with_tax(order.total_amount())")


def assert_equals_rank_bm25(index: RepositoryIndex, text: str) -> None:
    snapshot = index.snapshot
    slots = np.flatnonzero(snapshot.alive)
    documents = [terms(index.chunk(slot).text) for slot in slots.tolist()]
    scores, touched = Bm25Scores(snapshot).score(terms(text))
    if any(documents):
        expected = BM25Okapi(documents).get_scores(terms(text))
        np.testing.assert_allclose(scores[slots], expected, rtol=1e-9, atol=1e-12)
    assert touched[slots].tolist() == [not set(terms(text)).isdisjoint(document) for document in documents]
    ours = Bm25Retriever(index).retrieve(make_query(text), 100)
    reference = ReferenceBm25Retriever(index).retrieve(make_query(text), 100)
    assert_same_ranking(ours, reference)
    assert_same_ranking(ours[:3], Bm25Retriever(index).retrieve(make_query(text), 3))


def assert_same_ranking(found: list[RetrievedChunk], expected: list[RetrievedChunk]) -> None:
    """Equal scores, and the same chunks; those whose scores differ only by rounding may change places."""
    assert [c.score for c in found] == pytest.approx([c.score for c in expected], rel=1e-9, abs=1e-12)
    assert [c.rank for c in found] == list(range(len(found)))
    for ours, theirs in zip(found, expected, strict=True):
        if ours.chunk != theirs.chunk:
            scores = {c.chunk: c.score for c in expected}
            assert scores[ours.chunk] == pytest.approx(theirs.score, rel=1e-9, abs=1e-12)


def test_bm25_by_hand(tmp_path: Path) -> None:
    files = {"a.txt": "apple pear", "b.txt": "apple apple plum plum", "c.txt": "cherry", "d.txt": "fig"}
    index = make_index(tmp_path, files)
    found = Bm25Retriever(index).retrieve(make_query("plum pear pear", path="x.txt"), 10)
    idf = math.log(3.5) - math.log(1.5)  # both words are in one of four chunks
    average = (2 + 4 + 1 + 1) / 4
    plum = idf * 2 * 2.5 / (2 + 1.5 * (0.25 + 0.75 * 4 / average))
    pear = (
        2 * idf * 1 * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 2 / average))
    )  # a word counts as often as it is asked for
    assert places(found) == [("a.txt", 0), ("b.txt", 0)]
    assert [c.score for c in found] == pytest.approx([pear, plum], rel=1e-12)


def test_ties_are_in_chunk_order_whatever_was_changed_last(tmp_path: Path) -> None:
    files = {f"{name}.txt": "same words\n" for name in "edcba"} | {"other.txt": "else\n" * 3}
    index = make_index(tmp_path, files)
    index.update_file("b.txt", "same words")
    index.update_file("aa.txt", "same words")
    for retriever in (Bm25Retriever(index), JaccardRetriever(index), ReferenceBm25Retriever(index)):
        found = retriever.retrieve(make_query("words same"), 4)
        assert [c.chunk.path for c in found] == ["a.txt", "aa.txt", "b.txt", "c.txt"]


def test_best_slots_equal_a_full_sort(tmp_path: Path) -> None:
    index = make_index(tmp_path, {f"{n:02}.txt": "word\n" for n in range(40)})
    generator = np.random.default_rng(0)
    for _ in range(50):
        scores = generator.integers(0, 5, 40).astype(np.float64)
        candidates = generator.random(40) < 0.7
        expected = sorted(np.flatnonzero(candidates).tolist(), key=lambda slot: (-scores[slot], slot))
        for k in (0, 1, 7, 100):
            assert best_slots(index.snapshot, scores, candidates, k) == expected[:k]


# --- Jaccard


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corpus=CORPORA, query=st.lists(WORDS, max_size=12))
def test_jaccard_is_the_similarity_of_sets(
    corpus: dict[str, str], query: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    options = ChunkOptions(window_lines=2, window_step_lines=1)
    index = make_index(tmp_path_factory.mktemp("r"), corpus, chunker="window", options=options)
    wanted = set(terms(" ".join(query)))
    expected = []
    for chunk in index.chunks():
        words = set(terms(chunk.text))
        if wanted & words:
            expected.append((-len(wanted & words) / len(wanted | words), chunk.path, chunk.start_line))
    found = JaccardRetriever(index).retrieve(make_query(" ".join(query), suffix="\nalpha beta"), 100)
    assert [(-c.score, c.chunk.path, c.chunk.start_line) for c in found] == sorted(expected)


# --- the same-file rule

OWN_FILE = "\n".join(f"word_{line} = shared" for line in range(6))


@pytest.mark.parametrize(("start_line", "visible"), [(0, 0), (1, 1), (3, 3), (5, 5), (6, 6)])
def test_own_text_at_and_after_the_in_file_context_never_comes_back(
    start_line: int, visible: int, tmp_path: Path
) -> None:
    files = {"here.py": OWN_FILE, "other.py": "shared = 1\nunrelated = 2\n"}
    index = make_index(tmp_path, files, options=ONE_LINE_CHUNKS)
    query = make_query("shared", in_file_start_line=start_line)
    for retriever in (Bm25Retriever(index), JaccardRetriever(index), ReferenceBm25Retriever(index)):
        found = places(retriever.retrieve(query, 100))
        assert sorted(place for place in found if place[0] == "here.py") == [
            ("here.py", line) for line in range(visible)
        ]
        assert ("other.py", 0) in found


def test_hidden_chunks_still_count_in_the_statistics(tmp_path: Path) -> None:
    index = make_index(tmp_path, {"here.py": OWN_FILE, "other.py": "shared = 1\n"}, options=ONE_LINE_CHUNKS)
    (early,) = [
        c
        for c in Bm25Retriever(index).retrieve(make_query("shared", in_file_start_line=0), 10)
        if c.chunk.path == "other.py"
    ]
    late = Bm25Retriever(index).retrieve(make_query("shared", in_file_start_line=6), 10)
    assert early.score == next(c.score for c in late if c.chunk.path == "other.py")


# --- hybrid


class Fixed:
    name = "fixed"

    def __init__(self, chunks: list[Chunk]) -> None:
        self.chunks = chunks

    def retrieve(self, query: RetrievalQuery, k: int) -> list[RetrievedChunk]:
        return [RetrievedChunk(chunk, 1.0, rank, self.name) for rank, chunk in enumerate(self.chunks[:k])]


def test_hybrid_adds_reciprocal_ranks_and_gives_copies_once() -> None:
    a, b, c, copy_of_b = (
        Chunk(path, text, 0, 1, "python")
        for path, text in [("a", "A"), ("b", "B b"), ("c", "C"), ("z", "B\n  b\n")]
    )
    hybrid = HybridRetriever([Fixed([a, b, c]), Fixed([c, copy_of_b, a])])
    found = hybrid.retrieve(make_query(""), 10)
    assert [candidate.chunk for candidate in found] == [a, c, b]
    assert [candidate.score for candidate in found] == pytest.approx(
        [1 / 61 + 1 / 63, 1 / 63 + 1 / 61, 1 / 62]
    )
    assert [candidate.rank for candidate in found] == [0, 1, 2]
    assert len(hybrid.retrieve(make_query(""), 2)) == 2
    assert hybrid.retrieve(make_query(""), 0) == []


# --- import statements and definitions


@pytest.mark.parametrize(
    ("language", "module", "importing", "path", "packages", "expected"),
    [
        ("python", "shop.orders", "app/main.py", "shop/orders.py", {"shop"}, Nearness.EXACT),
        ("python", "shop.orders", "app/main.py", "src/shop/orders.py", {"src/shop"}, Nearness.EXACT),
        ("python", "shop.orders", "app/main.py", "shop/orders/__init__.py", {"shop"}, Nearness.EXACT),
        ("python", "shop.orders", "app/main.py", "shop/orders/model.py", {"shop"}, Nearness.RELATED),
        ("python", "shop", "app/main.py", "shop/__init__.py", {"shop"}, Nearness.EXACT),
        ("python", "shop", "app/main.py", "shop/orders.py", {"shop"}, Nearness.RELATED),
        ("python", "shop.orders", "app/main.py", "other/orders.py", set(), Nearness.NONE),
        ("python", "json", "shop/main.py", "shop/json.py", {"shop"}, Nearness.NONE),  # the standard library's
        (
            "python",
            "tools",
            "scripts/run.py",
            "scripts/tools.py",
            set(),
            Nearness.EXACT,
        ),  # a script's neighbour
        ("python", ".orders", "shop/report.py", "shop/orders.py", {"shop"}, Nearness.EXACT),
        ("python", ".orders", "shop/__init__.py", "shop/orders.py", {"shop"}, Nearness.EXACT),
        ("python", ".orders", "shop/report.py", "web/orders.py", set(), Nearness.NONE),
        ("python", "..util.text", "a/b/c.py", "a/util/text.py", {"a", "a/b"}, Nearness.EXACT),
        ("python", ".", "a/b/c.py", "a/b/__init__.py", {"a/b"}, Nearness.EXACT),
        ("python", ".", "a/b/c.py", "a/b/d.py", {"a/b"}, Nearness.RELATED),
        ("python", "..", "a/b.py", "c.py", {"a"}, Nearness.RELATED),
        ("typescript", "./client", "web/app.ts", "web/client.ts", set(), Nearness.EXACT),
        ("typescript", "../lib/index.js", "web/app.ts", "lib/index.ts", set(), Nearness.EXACT),
        ("typescript", "../lib", "web/app.ts", "lib/index.ts", set(), Nearness.EXACT),
        ("typescript", "./user.service", "web/app.ts", "web/user.service.ts", set(), Nearness.EXACT),
        ("typescript", "@/types/order", "web/app.ts", "web/src/types/order.ts", set(), Nearness.EXACT),
        ("typescript", "./client", "web/app.ts", "lib/client.ts", set(), Nearness.NONE),
        ("typescript", "./client", "web/app.ts", "web/client.d.ts", set(), Nearness.EXACT),
        ("typescript", "./client.d", "web/app.ts", "web/client.d.ts", set(), Nearness.EXACT),
        ("typescript", ".", "web/app.ts", "web/index.ts", set(), Nearness.EXACT),
        ("javascript", "..", "web/ui/app.js", "web/index.js", set(), Nearness.EXACT),
        ("javascript", "..", "web/app.js", "index.js", set(), Nearness.EXACT),
        ("javascript", "..", "web/ui/app.js", "lib/index.js", set(), Nearness.NONE),
        ("java", "com.shop.Order", "a/B.java", "src/main/java/com/shop/Order.java", set(), Nearness.EXACT),
        ("java", "com.shop", "a/B.java", "src/main/java/com/shop/Order.java", set(), Nearness.RELATED),
        ("go", "example.com/shop/orders/v2", "main.go", "orders/total.go", set(), Nearness.RELATED),
        ("rust", "crate::shop::orders", "src/main.rs", "src/shop/orders.rs", set(), Nearness.EXACT),
        ("rust", "crate::shop", "src/main.rs", "src/shop/mod.rs", set(), Nearness.EXACT),
        ("cpp", "shop/orders.hpp", "src/main.cpp", "include/shop/orders.hpp", set(), Nearness.EXACT),
        ("c", "orders.h", "src/main.c", "src/orders.c", set(), Nearness.EXACT),
        ("c", "../index.h", "src/main.c", "index.h", set(), Nearness.EXACT),  # stands for a folder elsewhere
        ("c", "../index.h", "src/main.c", "far/away.c", set(), Nearness.NONE),
        ("rust", "crate::index", "src/main.rs", "src/index.rs", set(), Nearness.EXACT),
        ("python", "shop.index", "app/main.py", "shop/index.py", {"shop"}, Nearness.EXACT),
        ("python", "shop.index", "app/main.py", "shop/orders.py", {"shop"}, Nearness.NONE),
        ("csharp", "Shop.Orders", "Program.cs", "Shop/Orders/Order.cs", set(), Nearness.RELATED),
        ("java", "com.shop.Order", "a/B.java", "c/Price.java", set(), Nearness.NONE),
    ],
)
def test_modules_lead_to_files(
    language: str, module: str, importing: str, path: str, packages: set[str], expected: Nearness
) -> None:
    reference = module_reference(module, importing, language)
    assert reference is not None
    assert reference.nearness(path, packages.__contains__) is expected


@pytest.mark.parametrize(
    ("language", "module", "importing"),
    [
        ("python", "..shop", "main.py"),
        ("python", "....deep", "a/b.py"),
        ("typescript", "../../outside", "web/app.ts"),
        ("typescript", "..", "app.ts"),
        ("rust", "crate", "src/main.rs"),
    ],
)
def test_imports_from_outside_the_repository_lead_nowhere(language: str, module: str, importing: str) -> None:
    assert module_reference(module, importing, language) is None


SHOP = {
    "shop/__init__.py": "from shop.model import Order\n",
    "shop/model.py": "class Order:\n    def total(self):\n        return 1\n\n\n"
    "class Price:\n    def total(self):\n        pass\n",
    "shop/tax.py": "def add_tax(price):\n    return price\n",
    "shop/money/__init__.py": "",
    "shop/money/rates.py": "def convert(amount):\n    return amount\n",
    "legacy/model.py": "class Order:\n    pass\n\n\ndef add_tax(price):\n    return 0\n",
    "legacy/other.py": "class Customer:\n    def total(self):\n        pass\n",
    "legacy/rates.py": "def convert(amount):\n    return 0\n",
    "web/order.js": "class Order {\n  total() {}\n}\n",
} | {f"many/m{n}.py": f"def common():\n    return {n}\n" for n in range(30)}


@pytest.fixture
def shop(tmp_path: Path) -> RepositoryIndex:
    return make_index(tmp_path, SHOP)


@pytest.mark.parametrize(
    ("prefix", "first"),
    [
        ("from shop.model import Order\n\n\ndef f(order: Order):\n    order.", "shop/model.py"),
        ("from shop import Order\n\n\ndef f(order: Order):\n    order.", "shop/model.py"),  # exported again
        ("from legacy.model import Order as Old\n\n\ndef f(order: Old):\n    order.", "legacy/model.py"),
        ("import shop.tax\n\nx = shop.tax.add_tax(", "shop/tax.py"),
        ("from shop import tax\n\nx = tax.add_tax(", "shop/tax.py"),
        ("from shop.money import rates\n\nx = rates.convert(", "shop/money/rates.py"),
        ("import rates\n\nx = rates.convert(", "legacy/rates.py"),  # shop/money is a package, legacy is none
        ("x = Customer(", "legacy/other.py"),
    ],
)
def test_definitions_come_from_where_they_are_imported(
    shop: RepositoryIndex, prefix: str, first: str
) -> None:
    found = DefinitionsRetriever(shop).retrieve(make_query(prefix), 10)
    assert found[0].chunk.path == first
    assert "web/order.js" not in {candidate.chunk.path for candidate in found}


def test_relative_imports_lead_to_neighbours(shop: RepositoryIndex) -> None:
    for prefix, path in [
        ("from .tax import add_tax\nadd_tax(", "shop/report.py"),
        ("from ..tax import add_tax\nadd_tax(", "shop/money/report.py"),
        ("from .. import tax\ntax.add_tax(", "shop/money/report.py"),
    ]:
        found = DefinitionsRetriever(shop).retrieve(make_query(prefix, path=path), 10)
        assert found[0].chunk.path == "shop/tax.py", prefix


def test_members_of_imported_classes_win_over_others(shop: RepositoryIndex) -> None:
    options = ChunkOptions(target_lines=2, max_lines=3, min_lines=1)
    index = RepositoryIndex.open(shop.root, options=options)
    prefix = "from shop.model import Order\n" + "\n".join(f"line_{n} = {n}" for n in range(40)) + "\nx.total("
    found = DefinitionsRetriever(index, QueryOptions(5, 0)).retrieve(make_query(prefix), 10)
    assert found[0].chunk.symbol == "Order.total"
    assert not {"Price.total", "Customer.total"} & {candidate.chunk.symbol for candidate in found}


def test_names_that_many_files_define_say_little(shop: RepositoryIndex) -> None:
    found = DefinitionsRetriever(shop).retrieve(make_query("Customer()\ncommon("), 40)
    assert places(found)[0] == ("legacy/other.py", 0)
    assert len(found) == 31


def test_nearer_names_come_first(shop: RepositoryIndex) -> None:
    retriever = DefinitionsRetriever(shop)
    far_customer = make_query("Customer()\na = b\nPrice(")
    far_price = make_query("Price()\na = b\nCustomer(")
    assert retriever.retrieve(far_customer, 1)[0].chunk.path == "shop/model.py"
    assert retriever.retrieve(far_price, 1)[0].chunk.path == "legacy/other.py"


def test_a_farther_use_by_another_name_takes_nothing_from_a_nearer_one(shop: RepositoryIndex) -> None:
    imports = "from shop.model import Order as Remote, Order\n\n\ndef f(x, y, z):\n"
    alone = make_query(f"{imports}    first = 1\n    v = x + y + z\n    w = Remote(")
    also = make_query(f"{imports}    first = Order\n    v = x + y + z\n    w = Remote(")
    retriever = DefinitionsRetriever(shop)
    assert retriever.retrieve(also, 1)[0].score == retriever.retrieve(alone, 1)[0].score


def test_definitions_of_the_own_file_obey_the_same_file_rule(tmp_path: Path) -> None:
    own = "def helper():\n    pass\n\n\n" + "print()\n" * 30 + "helper("
    index = make_index(tmp_path, {"here.py": own, "b.py": "y = 1\n"}, options=ChunkOptions(4, 4, 1))
    for start_line, expected in [(0, []), (10, [("here.py", 0)])]:
        found = DefinitionsRetriever(index).retrieve(make_query(own, in_file_start_line=start_line), 10)
        assert places(found) == expected


def test_text_files_have_no_definitions_to_ask_for(shop: RepositoryIndex) -> None:
    assert DefinitionsRetriever(shop).retrieve(make_query("Order total", path="notes.txt"), 10) == []


def test_bm25_is_rank_bm25_on_real_code() -> None:
    package = Path(__file__).parents[1] / "codefilter"
    index = RepositoryIndex.open(package)
    text = (package / "index" / "store.py").read_text(encoding="utf-8")
    for end in range(500, len(text), 1500):
        assert_equals_rank_bm25(index, query_text(make_query(text[:end], text[end:]).request))


def test_a_folders_own_import_finds_what_it_means(tmp_path: Path) -> None:
    files = {
        "web/index.ts": "export function render(x: number) {\n  return x;\n}\n",
        "aaa/index.ts": "export function render(x: number) {\n  return 0;\n}\n",
    }
    query = make_query("import { render } from '..';\n\nrender(", path="web/ui/app.ts")
    found = DefinitionsRetriever(make_index(tmp_path, files)).retrieve(query, 2)
    assert found[0].chunk.path == "web/index.ts"

"""The index: what it holds, how it keeps up, and what it survives."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codefilter.chunking import ChunkOptions, chunk_file
from codefilter.cli import main
from codefilter.errors import IndexStorageError, SourceError, UsageError
from codefilter.index import RepositoryIndex, Snapshot, build, store, workers
from codefilter.index.entry import FileEntry
from codefilter.index.terms import count_terms, terms
from codefilter.index.workers import WorkersEndedError
from codefilter.languages import language_of, syntax
from codefilter.source import SkipReason, scan
from codefilter.speed.indexing import measure_indexing, write_repository
from codefilter.types import SourceFile, content_hash

# --- terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parseHTTPHeader_v2", ["parsehttpheader_v2", "parse", "http", "header"]),
        ("total_amount", ["total_amount", "total", "amount"]),
        ("utf8 x9", ["utf8", "utf", "x9"]),
        ("__init__ _cache self", ["init", "cache", "self"]),
        ("x = y2", ["x", "y2"]),
        ("0x1F 10px 42 _ __", []),
        ("Größe größe", ["größe", "größe"]),
        ("日本 naïveBayes", ["日本", "naïvebayes", "naïve", "bayes"]),
        ("A" * 81, []),
    ],
)
def test_terms_of_identifiers(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@given(st.text() | st.text(alphabet="aB_1 éÉ.²"))
def test_counting_terms_is_the_same_as_listing_them(text: str) -> None:
    assert count_terms(text) == Counter(terms(text))
    assert all(term == term.lower() and "\n" not in term and term for term in terms(text))


# --- what an index holds


def write(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8", newline="")
    return root


def contents(snapshot: Snapshot) -> dict[str, object]:
    """Everything that can be searched, by value, whatever the order of slots."""
    slots = [int(slot) for slot in np.flatnonzero(snapshot.alive)]
    chunks = {slot: snapshot.chunk(slot) for slot in slots}
    known_terms = [term for chunk in chunks.values() for term in terms(chunk.text)]
    names = {word for chunk in chunks.values() for word in chunk.text.replace("(", " ").split()}
    postings = {}
    for term in set(known_terms):
        term_id = snapshot.term_id(term)
        assert term_id is not None
        found = [
            (chunks[slot], count)
            for slots, counts in snapshot.postings(term_id)
            for slot, count in zip(slots.tolist(), counts.tolist(), strict=True)
            if snapshot.alive[slot]
        ]
        postings[term] = (int(snapshot.document_frequency[term_id]), Counter(found))
    return {
        "chunks": Counter(chunks.values()),
        "lengths": {chunks[slot]: int(snapshot.lengths[slot]) for slot in slots},
        "distinct": {chunks[slot]: int(snapshot.distinct_terms[slot]) for slot in slots},
        "postings": postings,
        "definitions": {
            name: Counter((chunks[d.slot], d.definition) for d in snapshot.definitions(name))
            for name in names
        },
        "num_chunks": snapshot.num_chunks,
    }


def test_the_index_holds_what_chunking_and_counting_say(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    found = scan(sample_repository)
    assert index.paths == list(found.files)
    assert not {".env", "build/generated.py", "shop/__init__.py"} & set(index.paths)
    expected = []
    for path in index.paths:
        text = (sample_repository / path).read_text(encoding="utf-8")
        assert index.file_text(path) == text
        expected += chunk_file(SourceFile(path, text, language_of(path), content_hash(text))).chunks
    assert list(index.chunks()) == expected
    snapshot = index.snapshot
    for slot in range(snapshot.num_slots):
        counts = Counter(terms(index.chunk(slot).text))
        assert snapshot.lengths[slot] == counts.total()
        assert snapshot.distinct_terms[slot] == len(counts)
    (place,) = snapshot.definitions("total_amount")
    assert place.path == "shop/orders.py"
    assert place.definition.qualified_name == "Order.total_amount"
    assert "def total_amount" in index.chunk(place.slot).text
    assert snapshot.definitions("nothing") == []
    report = index.report
    assert report.num_files == report.num_read == len(found.files)
    assert report.num_chunks == len(expected)
    assert report.languages["python"].num_files == 3
    assert report.languages["typescript"].num_lines == 3
    assert report.skipped == found.skipped
    assert report.skipped[SkipReason.SECRET] == 1
    assert (report.rebuilt_because, report.notices) == ("", ())


def test_text_is_kept_to_the_character(tmp_path: Path) -> None:
    files = {
        "odd.py": "# é ß 日本 𝒳\u2028x\x0c\ndef größe():\n    return '𝒳'\n\n\n# no line end",
        "crlf.py": "a = 1\r\nb = 2\r\n",
        "blank.py": "\n\n\nx = 1\n\n\n",
    }
    index = RepositoryIndex.open(write(tmp_path, files))
    assert index.file_text("odd.py") == files["odd.py"]
    assert index.file_text("crlf.py") == "a = 1\nb = 2\n"
    for chunk in index.chunks():
        lines = index.file_text(chunk.path).split("\n")
        assert chunk.text == "\n".join(lines[chunk.start_line : chunk.end_line])
    surrogate = "name = '\ud800'\n"
    index.update_file("editor.py", surrogate)
    assert index.file_text("editor.py") == surrogate
    assert index.report.num_lines == 6 + 2 + 6


def test_scope_and_chunker_have_their_own_index(sample_repository: Path) -> None:
    whole = RepositoryIndex.open(sample_repository)
    part = RepositoryIndex.open(sample_repository, scope="shop/")
    windows = RepositoryIndex.open(sample_repository, chunker="window")
    assert part.spec.scope == "shop"
    assert part.paths == ["shop/orders.py", "shop/pricing.py", "shop/report.py"]
    assert len({index.spec.file_name for index in (whole, part, windows)}) == 3
    assert RepositoryIndex.open(sample_repository).report.num_read == 0
    part.update_file("web/format.ts")
    part.update_file("web/new.ts", "let outside = 1;\n")
    assert len(part.paths) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"root": "gone"}, UsageError, "gone is not a folder"),
        ({"root": "file.py"}, UsageError, "file.py is not a folder"),
        ({"scope": "gone"}, UsageError, "scope"),
        ({"scope": ".."}, UsageError, "scope"),
        ({"chunker": "gone"}, UsageError, "unknown chunker 'gone'"),
        ({"chunker": "syntax:0"}, UsageError, "unknown chunker 'syntax:0'"),
        ({"root": "empty"}, SourceError, "no source files in"),
    ],
)
def test_wrong_places_are_named(
    arguments: dict[str, str], error: type[Exception], words: str, tmp_path: Path
) -> None:
    write(tmp_path, {"file.py": "x = 1\n", "empty/data.bin": ""})
    root = tmp_path / arguments.pop("root", ".")
    with pytest.raises(error, match=words) as raised:
        RepositoryIndex.open(root, **arguments)  # type: ignore[arg-type]
    assert raised.value.hint  # type: ignore[attr-defined]


# --- keeping up with changes


def test_reopening_reads_only_what_changed(sample_repository: Path) -> None:
    settle(sample_repository)
    first = RepositoryIndex.open(sample_repository)
    assert RepositoryIndex.open(sample_repository).report.num_read == 0

    changed = sample_repository / "shop/pricing.py"
    changed.write_text(changed.read_text().replace("VAT_RATE = 0.19", "VAT_RATE = 0.20"))  # the same size
    (sample_repository / "shop/orders.py").unlink()
    write(sample_repository, {"shop/new.py": "def brand_new():\n    pass\n"})
    (sample_repository / "README.md").touch()  # a new time, the same text
    second = RepositoryIndex.open(sample_repository)
    assert (second.report.num_read, second.report.num_removed) == (2, 1)
    assert "0.20" in second.file_text("shop/pricing.py")
    assert second.snapshot.definitions("brand_new")
    assert not second.snapshot.definitions("find_order")
    assert contents(first.snapshot) != contents(second.snapshot)
    first.refresh()
    assert contents(first.snapshot) == contents(second.snapshot)
    assert contents(RepositoryIndex.open(sample_repository, rebuild=True).snapshot) == contents(
        first.snapshot
    )


def settle(root: Path) -> None:
    """Make all files older than the clock's tick, as those of a real repository are."""
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 10, time.time() - 10))


def test_a_file_that_changed_within_the_clocks_tick_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path, {"a.py": "x = 1\n"}) / "a.py"
    status = file.stat()
    RepositoryIndex.open(tmp_path)
    file.write_text("x = 2\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # the same size, the same time
    assert RepositoryIndex.open(tmp_path).file_text("a.py") == "x = 2\n"


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    for text in ("x = 1\n", "x = 2\n"):
        file.write_text(text)
        os.utime(file, (1_700_000_000, 1_700_000_000))  # as unpacked from an archive
        assert RepositoryIndex.open(tmp_path).file_text("a.py") == text


def test_an_editors_text_counts_until_it_is_closed_and_is_not_saved(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    before = contents(index.snapshot)
    index.update_file("shop/pricing.py", "def typed_in_editor():\n    pass\n")
    index.update_file("shop/unsaved.py", "def never_saved():\n    pass\n")
    assert not index.snapshot.definitions("price_with_tax")
    index.refresh()
    assert index.snapshot.definitions("typed_in_editor")
    assert index.snapshot.definitions("never_saved")
    assert contents(RepositoryIndex.open(sample_repository).snapshot) == before
    index.update_file("shop/pricing.py")
    index.update_file("shop/unsaved.py")
    assert contents(index.snapshot) == before


def test_a_header_is_read_alike_from_an_editor_and_from_the_disk(sample_repository: Path) -> None:
    text = "class Order {\n  int total();\n};\n"
    write(sample_repository, {"disk.h": text})
    with RepositoryIndex.open(sample_repository) as index:
        index.update_file("editor.h", text)
        found = index.snapshot.definitions("total")
    assert {(item.path, item.language) for item in found} == {("disk.h", "cpp"), ("editor.h", "cpp")}


def test_who_updates_a_file_hears_whether_its_text_is_another(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    typed = "def typed_in_editor():\n    pass\n"
    assert index.update_file("shop/pricing.py", typed)
    assert not index.update_file("shop/pricing.py", typed)
    (sample_repository / "shop" / "pricing.py").write_text(typed)
    assert not index.update_file("shop/pricing.py")  # saved
    assert not index.update_file(".env", typed)
    assert not index.update_file("build/generated.py")
    (sample_repository / "shop" / "pricing.py").unlink()
    assert index.update_file("shop/pricing.py")
    assert not index.update_file("shop/pricing.py")


def test_an_editors_text_that_is_to_be_left_out_by_now_leaves_with_the_next_look(
    sample_repository: Path,
) -> None:
    index = RepositoryIndex.open(sample_repository)
    index.update_file("shop/pricing.py", "def typed_in_editor():\n    pass\n")
    (sample_repository / ".gitignore").write_text("pricing.py\n")
    assert index.refresh().num_removed == 1
    assert not index.snapshot.definitions("typed_in_editor")
    index.update_file("shop/pricing.py", "def typed_in_editor():\n    pass  # on\n")
    assert not index.snapshot.definitions("typed_in_editor")


def test_an_editors_text_has_the_limits_of_files(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    for text in (
        f"def typed_in_editor(): return '{'x' * 6_000}'\n",
        "def typed_in_editor(): pass\n" * 40_000,
    ):
        index.update_file("shop/pricing.py", text)
        assert not index.snapshot.definitions("typed_in_editor")
    index.update_file("shop/pricing.py", "def typed_in_editor():\n    pass\n")
    assert index.snapshot.definitions("typed_in_editor")


def test_saved_changes_are_on_disk_for_the_next_process(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    write(sample_repository, {"shop/pricing.py": "def saved():\n    pass\n"})
    settle(sample_repository)
    index.update_file("shop/pricing.py")
    (sample_repository / "shop/orders.py").unlink()
    index.update_file("shop/orders.py")
    again = RepositoryIndex.open(sample_repository)
    assert "shop/orders.py" not in again.paths
    assert again.snapshot.definitions("saved")
    assert contents(again.snapshot) == contents(index.snapshot)


@pytest.mark.parametrize("path", [".env", "build/generated.py", "../outside.py", "logs/a.log", "image.png"])
def test_what_a_scan_leaves_out_no_editor_brings_in(path: str, sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    before = contents(index.snapshot)
    index.update_file(path, "TOKEN = 'do-not-index'\n")
    index.update_file(path)
    assert contents(index.snapshot) == before


def test_a_file_that_turns_binary_or_is_removed_leaves(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    (sample_repository / "shop/pricing.py").write_bytes(b"\0\1\2\3" * 100)
    index.update_file("shop/pricing.py")
    assert "shop/pricing.py" not in index.paths
    index.remove_file("shop/orders.py")
    assert "shop/orders.py" not in index.paths
    with pytest.raises(SourceError, match="not in the index"):
        index.file_text("shop/orders.py")
    report = index.refresh()
    assert "shop/orders.py" in index.paths
    assert report.skipped[SkipReason.BINARY] == 1


LINES = st.sampled_from(
    [
        "def alpha():",
        "    return beta(gamma)",
        "class Gamma:",
        "    delta = alpha_beta",
        "x = 1",
        "",
        "# beta",
    ]
)
TEXTS = st.lists(LINES, min_size=1, max_size=30).map("\n".join).filter(str.strip)
STEPS = st.lists(st.tuples(st.sampled_from(["a.py", "b.py", "c/d.py"]), st.none() | TEXTS), max_size=8)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=TEXTS,
    steps=STEPS,
    merge_after=st.sampled_from([0, 1, 3, 1000]),
    forgotten_terms=st.sampled_from([-1000, 0, 1000]),
)
def test_updates_give_what_a_new_build_gives(
    start: str,
    steps: list[tuple[str, str | None]],
    merge_after: int,
    forgotten_terms: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codefilter.index.postings._MIN_CHUNKS_TO_MERGE", merge_after)
        patch.setattr("codefilter.index.repository._FORGOTTEN_TERMS", forgotten_terms)
        root = write(tmp_path_factory.mktemp("r"), {"a.py": start, "kept.py": "def kept():\n    alpha()\n"})
        index = RepositoryIndex.open(root, options=SMALL_CHUNKS)
        for path, text in steps:
            if text is None:
                (root / path).unlink(missing_ok=True)
            else:
                write(root, {path: text})
            index.update_file(path)
        fresh = RepositoryIndex.open(root, options=SMALL_CHUNKS, cache_dir=tmp_path_factory.mktemp("cache"))
        reopened = RepositoryIndex.open(root, options=SMALL_CHUNKS)
        assert contents(index.snapshot) == contents(fresh.snapshot) == contents(reopened.snapshot)
        assert list(index.chunks()) == list(fresh.chunks())


SMALL_CHUNKS = ChunkOptions(target_lines=3, max_lines=4, min_lines=1)


def test_words_that_were_half_typed_are_forgotten(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    before, snapshot = len(index.snapshot.vocabulary), index.snapshot
    held = contents(snapshot)
    for number in range(60):
        index.update_file("shop/new.py", " ".join(f"word{number}x{i}" for i in range(100)))
    assert len(index.snapshot.vocabulary) < before + 4_000  # of 6,000 and their parts
    assert contents(snapshot) == held
    index.update_file("shop/new.py", "")
    assert contents(index.snapshot) == held


def test_a_query_keeps_its_snapshot_while_files_change(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    snapshot = index.snapshot
    before = contents(snapshot)
    index.update_file("shop/orders.py", "completely = different\n")
    index.remove_file("shop/pricing.py")
    assert contents(snapshot) == before


def test_a_changed_file_does_not_index_the_others_again(tmp_path: Path) -> None:
    files = {f"m{number}.py": f"def f{number}():\n    pass\n" for number in range(20)}
    index = RepositoryIndex.open(write(tmp_path, files))
    main = index.snapshot.main
    for number in range(100):
        index.update_file("m3.py", f"def g{number}():\n    pass\n")
    assert index.snapshot.main is main
    assert index.snapshot.fresh.num_chunks == 1
    assert index.snapshot.num_slots == 21
    assert index.snapshot.definitions("g99")
    assert not index.snapshot.definitions("f3")


# --- many files, worker processes


@pytest.fixture
def many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "_MIN_FILES_FOR_WORKERS", 10)
    return write(
        tmp_path / "many", {f"p{n % 7}/m{n}.py": f"def f{n}(a, b):\n    return a + {n}\n" for n in range(100)}
    )


def test_workers_and_one_process_build_the_same(many_files: Path) -> None:
    seen: list[tuple[int, int]] = []
    parallel = RepositoryIndex.open(many_files, workers=2, progress=lambda *done: seen.append(done))
    single = RepositoryIndex.open(many_files, workers=1, rebuild=True)
    assert contents(parallel.snapshot) == contents(single.snapshot)
    assert seen == sorted(seen)
    assert seen[-1] == (100, 100)
    assert parallel.report.notices == ()


def test_without_workers_the_index_is_built_and_says_so(
    many_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_Worker", no_workers)
    index = RepositoryIndex.open(many_files, workers=2)
    assert index.report.num_files == 100
    assert "one process" in index.report.notices[0]


def no_workers(*_: object, **__: object) -> None:
    raise OSError("no processes")


def test_workers_that_die_are_replaced_by_this_process(
    many_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(spec: object, wanted: list[build.Wanted], workers: int, *_: object) -> object:
        batches = real(spec, wanted, 1, print)  # type: ignore[arg-type]
        if workers == 1:
            return batches
        return iter_then_break(next(batches))

    real = build.read_files
    monkeypatch.setattr("codefilter.index.repository.read_files", broken)
    index = RepositoryIndex.open(many_files, workers=2)
    assert index.report.num_read == 100
    assert "ended: killed" in index.report.notices[0]


def iter_then_break(first: object) -> object:
    yield first
    raise WorkersEndedError("killed")


# --- what the saved file survives


def index_file(root: Path, cache: Path) -> Path:
    RepositoryIndex.open(root, cache_dir=cache).close()
    (file,) = cache.glob("*.sqlite")
    return file


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def garble_header(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"this is no database at all, is it?")


def garble_text(file: Path) -> None:
    data = file.read_bytes()
    assert data.count(b"find_order") > 1
    file.write_bytes(data.replace(b"def find_order", b"def fund_order"))


def garble_numbers(file: Path) -> None:
    execute(file, "UPDATE files SET chunk_terms = zeroblob(length(chunk_terms)) WHERE path LIKE '%orders.py'")


def forget_a_column(file: Path) -> None:
    execute(file, "ALTER TABLE files DROP COLUMN terms")


def make_older(file: Path) -> None:
    execute(file, f"PRAGMA user_version = {store.FORMAT_VERSION - 1}")


def make_foreign(file: Path) -> None:
    file.unlink()
    execute(file, "CREATE TABLE holiday_photos (name TEXT)")


def change_settings(file: Path) -> None:
    execute(file, "UPDATE settings SET value = 'another chunker'")


def make_empty_file(file: Path) -> None:
    file.write_bytes(b"")


def execute(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("damage", "because"),
    [
        (cut_short, "damaged"),
        (garble_header, "damaged"),
        (garble_text, "damaged (at shop/orders.py)"),
        (garble_numbers, "damaged (at shop/orders.py)"),
        (forget_a_column, "damaged"),
        (make_older, f"format {store.FORMAT_VERSION - 1}"),
        (make_foreign, "not written by CodeFilter"),
        (change_settings, "other settings"),
        (make_empty_file, ""),
    ],
)
def test_an_unfit_index_is_rebuilt_and_says_why(
    damage: Callable[[Path], None], because: str, sample_repository: Path, tmp_path: Path
) -> None:
    settle(sample_repository)
    cache = tmp_path / "cache"
    file = index_file(sample_repository, cache)
    with RepositoryIndex.open(sample_repository, cache_dir=cache) as sound:
        expected = contents(sound.snapshot)
    damage(file)
    with RepositoryIndex.open(sample_repository, cache_dir=cache) as index:
        assert contents(index.snapshot) == expected
        assert because in index.report.rebuilt_because
        assert bool(because) == bool(index.report.rebuilt_because)
        assert index.report.num_read == index.report.num_files
        assert index.report.notices == ()
    with RepositoryIndex.open(sample_repository, cache_dir=cache) as again:
        assert (again.report.num_read, again.report.rebuilt_because) == (0, "")
        assert contents(again.snapshot) == expected


def forget_grammars() -> None:
    for remembered in (syntax._grammar, syntax._query, syntax._loads, syntax.parse):
        remembered.cache_clear()


@pytest.fixture
def remembered_grammars() -> Iterator[None]:
    forget_grammars()
    yield
    forget_grammars()


@pytest.mark.usefixtures("remembered_grammars")
def test_an_index_from_a_time_without_a_grammar_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "root", {"a.go": "package a\n\nfunc Foo() int {\n\treturn 1\n}\n"})
    settle(root)
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "tree_sitter_go", None)
        with RepositoryIndex.open(root, cache_dir=tmp_path / "cache") as index:
            assert not index.snapshot.definitions("Foo")
    forget_grammars()  # as the next process
    with RepositoryIndex.open(root, cache_dir=tmp_path / "cache") as index:
        assert index.snapshot.definitions("Foo")
        assert "other settings" in index.report.rebuilt_because


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_random_damage_never_gives_a_wrong_index(
    seed: int, sample_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settle(sample_repository)
    cache = tmp_path_factory.mktemp("cache")
    file = index_file(sample_repository, cache)
    with RepositoryIndex.open(sample_repository, cache_dir=cache) as sound:
        expected = contents(sound.snapshot)
    generator = random.Random(seed)
    data = bytearray(file.read_bytes())
    for _ in range(generator.choice([1, 20, 500])):
        data[generator.randrange(len(data))] = generator.randrange(256)
    file.write_bytes(data)
    with RepositoryIndex.open(sample_repository, cache_dir=cache) as index:
        assert contents(index.snapshot) == expected


OPEN_AND_WAIT = """
import sys, time
from pathlib import Path
from codefilter.index import RepositoryIndex
if __name__ == "__main__":
    root, cache, workers, delay = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    def slowly(done, total):
        print(done, flush=True)
        time.sleep(delay)
    index = RepositoryIndex.open(root, cache_dir=cache, workers=workers, progress=slowly)
    print("opened", index.report.num_files, index.report.notices, flush=True)
"""


def start_open(root: Path, cache: Path, *, delay: float, workers: int = 1) -> subprocess.Popen[str]:
    script = cache.parent / "open_and_wait.py"
    if not script.exists():  # another process may be reading it: never empty it again
        script.write_text(OPEN_AND_WAIT)
    return subprocess.Popen(
        [sys.executable, str(script), str(root), str(cache), str(workers), str(delay)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_build_that_was_killed_goes_on_where_it_was(many_files: Path, tmp_path: Path) -> None:
    settle(many_files)
    cache = tmp_path / "cache"
    with start_open(many_files, cache, delay=60) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "32\n"
        process.send_signal(signal.SIGKILL)
    with RepositoryIndex.open(many_files, cache_dir=cache) as index:
        assert (index.report.num_read, index.report.rebuilt_because) == (68, "")
        expected = RepositoryIndex.open(many_files, cache_dir=tmp_path / "other")
        assert contents(index.snapshot) == contents(expected.snapshot)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    root = write(tmp_path / "r", {f"m{n}.py": f"def f{n}():\n    pass\n" for n in range(300)})
    with start_open(root, tmp_path / "cache", delay=60, workers=2) as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = descendants(process.pid)
        assert children
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(Path(f"/proc/{child}").exists() for child in children):
        time.sleep(0.05)
    assert not [child for child in children if is_running(child)]


def descendants(pid: int) -> list[int]:
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in descendants(child)]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_processes_may_build_and_change_the_same_index(many_files: Path, tmp_path: Path) -> None:
    settle(many_files)
    cache = tmp_path / "cache"
    processes = [start_open(many_files, cache, delay=0.05) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0].splitlines()[-1] for process in processes]
    assert outputs == ["opened 100 ()"] * 3

    first = RepositoryIndex.open(many_files, cache_dir=cache)
    second = RepositoryIndex.open(many_files, cache_dir=cache)
    assert first.report.num_read == second.report.num_read == 0
    write(many_files, {"p0/m0.py": "def by_first():\n    pass\n", "p1/m1.py": "def by_second():\n    pass\n"})
    settle(many_files)
    first.update_file("p0/m0.py")
    second.update_file("p1/m1.py")
    third = RepositoryIndex.open(many_files, cache_dir=cache)
    assert third.report.num_read <= 98  # `settle` gave the others a new time, not a new text
    assert third.snapshot.definitions("by_first")
    assert third.snapshot.definitions("by_second")
    fresh = RepositoryIndex.open(many_files, cache_dir=tmp_path / "other")
    assert contents(third.snapshot) == contents(fresh.snapshot)


def test_a_locked_index_is_not_lost(
    sample_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BUSY_TIMEOUT_SECONDS", 0.05)
    settle(sample_repository)
    cache = tmp_path / "cache"
    file = index_file(sample_repository, cache)
    index = RepositoryIndex.open(sample_repository, cache_dir=cache)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    write(sample_repository, {"shop/new.py": "def while_locked():\n    pass\n"})
    settle(sample_repository)
    index.update_file("shop/new.py")
    assert index.snapshot.definitions("while_locked")
    assert "not saved" in index.refresh().notices[0]
    unsaved = RepositoryIndex.open(sample_repository, cache_dir=cache)
    assert "locked" in unsaved.report.notices[0]
    assert contents(unsaved.snapshot) == contents(index.snapshot)
    other.close()
    again = RepositoryIndex.open(sample_repository, cache_dir=cache)
    assert (again.report.num_read, again.report.notices, again.report.rebuilt_because) == (1, (), "")
    assert contents(again.snapshot) == contents(index.snapshot)


def test_an_index_that_another_process_is_just_making_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, other.execute, ["COMMIT"])
    timer.start()
    saved = store.open_store(tmp_path / "index.sqlite", "settings")
    timer.join()
    assert (saved.not_saved_because, saved.rebuilt_because) == ("", "")


def test_without_a_place_to_save_the_index_works_and_says_so(sample_repository: Path, tmp_path: Path) -> None:
    blocked = write(tmp_path, {"blocked": "a file where the cache should be"}) / "blocked"
    index = RepositoryIndex.open(sample_repository, cache_dir=blocked)
    assert index.snapshot.definitions("total_amount")
    assert "not saved" in index.report.notices[0]
    index.update_file("shop/orders.py", "changed = 1\n")
    assert index.file_text("shop/orders.py") == "changed = 1\n"
    assert blocked.read_text() == "a file where the cache should be"


def test_an_index_that_may_only_be_read_is_read(
    sample_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(sample_repository)
    index_file(sample_repository, tmp_path / "cache")
    monkeypatch.setattr(sqlite3, "connect", read_only_connect)
    index = RepositoryIndex.open(sample_repository, cache_dir=tmp_path / "cache")
    assert index.report.num_read == 0
    assert index.snapshot.definitions("total_amount")
    assert index.report.notices == ("the index is not saved: attempt to write a readonly database",)


def read_only_connect(
    target: object, *, uri: bool = False, connect: Callable[..., object] = sqlite3.connect, **_: object
) -> object:
    """As SQLite answers in a folder of another user (permissions do not hold the root user back)."""
    if uri:
        return connect(target, uri=True)
    error = sqlite3.OperationalError("attempt to write a readonly database")
    error.sqlite_errorcode = sqlite3.SQLITE_READONLY
    raise error


def test_a_full_disk_stops_saving_not_working(
    sample_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: store.IndexStore, entries: list[FileEntry], removed: object = ()) -> None:
        raise IndexStorageError("database or disk is full", hint="Free some space.")

    monkeypatch.setattr(store.IndexStore, "write", full)
    index = RepositoryIndex.open(sample_repository, cache_dir=tmp_path / "cache")
    assert index.report.num_files > 0
    assert "disk is full" in index.report.notices[0]
    monkeypatch.undo()
    assert RepositoryIndex.open(sample_repository, cache_dir=tmp_path / "cache").report.rebuilt_because == ""


def test_a_write_that_fails_leaves_what_was_there(sample_repository: Path, tmp_path: Path) -> None:
    settle(sample_repository)
    cache = tmp_path / "cache"
    file = index_file(sample_repository, cache)
    execute(file, "CREATE TRIGGER stop BEFORE DELETE ON files BEGIN SELECT RAISE(ABORT, 'no'); END")
    index = RepositoryIndex.open(sample_repository, cache_dir=cache)
    write(sample_repository, {"shop/orders.py": "a = 1\n"})
    with pytest.raises(IndexStorageError) as raised:
        index._store.write([], ["shop/orders.py", "shop/pricing.py"])  # type: ignore[union-attr]
    assert raised.value.hint
    settle(sample_repository)
    assert RepositoryIndex.open(sample_repository, cache_dir=cache).report.rebuilt_because == ""


def test_threads_may_search_while_files_change(sample_repository: Path) -> None:
    index = RepositoryIndex.open(sample_repository)
    stop = threading.Event()
    failures: list[BaseException] = []

    def search() -> None:
        try:
            while not stop.is_set():
                snapshot = index.snapshot
                assert len([snapshot.chunk(int(slot)) for slot in np.flatnonzero(snapshot.alive)])
                assert snapshot.definitions("total_amount")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(50):
        index.update_file("shop/pricing.py", f"price_{number} = {number}\n" * (number % 5 + 1))
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


# --- the command


def test_the_command_shows_what_is_indexed(
    sample_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(sample_repository)]) == 0
    shown = capsys.readouterr()
    report = RepositoryIndex.open(sample_repository).report
    assert f"{report.num_files} files, {report.num_chunks} chunks, {report.num_lines} lines" in shown.out
    assert "python" in shown.out
    assert SkipReason.SECRET.value in shown.out
    assert shown.err == ""


def test_no_files_name_commands_the_terminal(
    sample_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(sample_repository, {"\x1b[31m\x9bred.py": "x = 1\n"})
    assert main(["index", str(sample_repository)]) == 0
    shown = capsys.readouterr().out
    assert " [31m red.py" in shown
    assert shown.replace("\n", "").isprintable()


def test_the_commands_json_is_the_report(sample_repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(sample_repository), "--scope", "shop", "--chunker", "window", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["files"], shown["read"], shown["languages"]["python"]["files"]) == (3, 3, 3)
    assert shown["skipped"]["empty"] == {"count": 1, "examples": ["shop/__init__.py"]}
    assert (shown["rebuilt_because"], shown["notices"]) == ("", [])
    assert main(["index", str(sample_repository), "--scope", "shop", "--chunker", "window", "--rebuild"]) == 0
    assert "3 files read" in capsys.readouterr().out


def test_the_command_says_that_an_index_was_built_anew(
    sample_repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CODEFILTER_CACHE", str(tmp_path / "cache"))
    make_older(index_file(sample_repository, tmp_path / "cache" / "index"))
    write(sample_repository, {"shop/broken.py": "def broken(:\n    pass\n"})
    assert main(["index", str(sample_repository)]) == 0
    shown = capsys.readouterr().out
    assert f"built anew, because the saved index has format {store.FORMAT_VERSION - 1}" in shown
    assert "files with syntax errors: 1" in shown


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["gone"], 2, "gone is not a folder"),
        ([".", "--scope", "gone"], 2, "scope gone"),
        ([".", "--chunker", "gone"], 2, "'gone'"),
        (["empty"], 1, "no source files"),
    ],
)
def test_the_command_explains_what_is_wrong(
    arguments: list[str],
    exit_code: int,
    message: str,
    sample_repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (sample_repository / "empty").mkdir()
    monkeypatch.chdir(sample_repository)
    assert main(["index", *arguments]) == exit_code
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert hint.startswith("hint: ")


# --- the benchmark


def test_larger_repositories_have_new_paths_and_new_names(sample_repository: Path, tmp_path: Path) -> None:
    write_repository(sample_repository, tmp_path / "same")
    once = RepositoryIndex.open(tmp_path / "same")
    assert once.file_text("copy0/shop/orders.py") == (sample_repository / "shop/orders.py").read_text()
    lines = once.report.num_lines
    write_repository(sample_repository, tmp_path / "large", 3 * lines)
    large = RepositoryIndex.open(tmp_path / "large")
    assert 3 * lines <= large.report.num_lines < 4 * lines
    words = {path: set(large.file_text(path).split()) for path in large.paths}
    assert words["copy1/shop/orders.py"] - words["copy0/shop/orders.py"]
    assert words["copy1/shop/orders.py"] & words["copy0/shop/orders.py"]


def test_indexing_is_measured(sample_repository: Path) -> None:
    (timing,) = measure_indexing(sample_repository, num_places=3, num_baseline_queries=1)
    assert timing.num_files == len(scan(sample_repository).files)
    assert set(timing.queries) == {"bm25", "jaccard", "definitions", "hybrid"}
    assert 0 < timing.change.median_seconds <= timing.change.p95_seconds <= timing.change.max_seconds
    assert timing.bm25_speedup > 0
    assert min(timing.build_peak_megabytes, timing.use_peak_megabytes, timing.saved_megabytes) > 0
    assert json.loads(json.dumps(asdict(timing)))["num_lines"] == timing.num_lines


def test_an_older_process_does_not_write_into_a_newer_ones_index(
    sample_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(sample_repository)
    cache = tmp_path / "cache"
    older = RepositoryIndex.open(sample_repository, cache_dir=cache)
    monkeypatch.setattr("codefilter.__version__", "999")
    newer = RepositoryIndex.open(sample_repository, cache_dir=cache)
    assert "another version" in newer.report.rebuilt_because
    write(sample_repository, {"shop/new.py": "def told_by_the_older():\n    pass\n"})
    settle(sample_repository)
    older.update_file("shop/new.py")
    assert older.snapshot.definitions("told_by_the_older")
    assert "taken over by another version" in older.refresh().notices[0]
    again = RepositoryIndex.open(sample_repository, cache_dir=cache)
    assert again.report.rebuilt_because == ""
    assert again.report.num_read == 1  # what the older one saw is read, and cut, anew


@pytest.mark.parametrize(
    ("code", "because"),
    [(sqlite3.SQLITE_IOERR_SHMSIZE, ""), (sqlite3.SQLITE_IOERR_SHORT_READ, "damaged")],
)
def test_a_disk_that_is_full_when_it_is_opened_costs_no_sound_index(
    code: int, because: str, sample_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(sample_repository)
    file = index_file(sample_repository, tmp_path / "cache")
    really_open, failures = store._open, [sqlite3.OperationalError("disk I/O error")]
    failures[0].sqlite_errorcode = code

    def fail_once(*arguments: object, **named: object) -> object:
        if failures:
            raise failures.pop()
        return really_open(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_open", fail_once)
    inode = file.stat().st_ino
    index = RepositoryIndex.open(sample_repository, cache_dir=tmp_path / "cache")
    assert index.snapshot.definitions("total_amount")
    assert because in index.report.rebuilt_because
    if not because:
        assert index.report.num_read == 0
        assert index.report.notices == ("the index is not saved: disk I/O error",)
        assert file.stat().st_ino == inode

"""Parts of the language server that need no editor: pace, reuse, options, consent."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol.types import Position, Range, TextDocumentContentChangePartial, TextDocumentItem

from codefilter.config import Settings, user_config_file
from codefilter.feedback import FeedbackStore, Outcome
from codefilter.index import IndexReport, RepositoryIndex
from codefilter.lm.base import Cancellation
from codefilter.source import SkipReason, skip_reason
from codefilter.types import CompletionRequest
from codefilter_lsp.__main__ import make_server
from codefilter_lsp.answers import Answer, Answers, Origin
from codefilter_lsp.consent import Wish, grant, without_wishes
from codefilter_lsp.documents import Documents
from codefilter_lsp.feedback import SETTLED_SECONDS, FeedbackRecorder
from codefilter_lsp.folders import MANY_FILES, Changes, Folder
from codefilter_lsp.models import Models
from codefilter_lsp.pace import Pace
from codefilter_lsp.reuse import Reuse
from codefilter_lsp.scheduling import NewestWins
from codefilter_lsp.settings import EditorOptions, folder_settings, read_options


def test_the_pace_follows_the_typing() -> None:
    pace = Pace()
    assert pace.wait_seconds(0.0) == 0.0
    for key in range(20):
        pace.key(key * 0.1)
    fast = pace.wait_seconds(1.9)
    assert 0.05 < fast <= 0.1
    assert pace.wait_seconds(1.9 + 0.05) == pytest.approx(fast - 0.05)
    assert pace.wait_seconds(5.0) == 0.0  # after a pause there is nothing to wait for
    for key in range(20):
        pace.key(10 + key * 0.4)
    assert pace.wait_seconds(17.6) == 0.25


def request(prefix: str, suffix: str = "") -> CompletionRequest:
    return CompletionRequest("a.py", prefix, suffix, "python")


def test_reuse_is_keyed_on_prefix_suffix_and_context() -> None:
    reuse: Reuse[str] = Reuse()
    reuse.put("context", request("x = ", "\n"), ("first", "fine"), "origin")
    known = reuse.get("context", request("x = ", "\n"))
    assert known is not None
    assert (known.texts, known.typed, known.origin) == (("first", "fine"), 0, "origin")
    assert reuse.get("other", request("x = ", "\n")) is None
    assert reuse.get("context", request("x = ", "\n\n")) is None
    assert reuse.get("context", replace(request("x = ", "\n"), path="b.py")) is None
    typed = reuse.get("context", request("x = fi", "\n"))
    assert typed is not None
    assert (typed.texts, typed.typed) == (("rst", "ne"), 2)
    typed = reuse.get("context", request("x = fin", "\n"))
    assert typed is not None
    assert typed.texts == ("e",)
    assert reuse.get("context", request("x = first", "\n")) is None  # nothing is left of it
    assert reuse.get("context", request("x = fo", "\n")) is None


def test_what_an_editor_closes_is_typed_along_too() -> None:
    reuse: Reuse[str] = Reuse()
    reuse.put("context", request("x = ", "\ny = 1\n"), ("add(first)",), "")
    known = reuse.get("context", request("x = add(", ")\ny = 1\n"))
    assert known is not None
    assert known.texts == ("first",)
    assert reuse.get("context", request("x = add(", "other)\ny = 1\n")) is None


def test_reuse_forgets_the_oldest() -> None:
    reuse: Reuse[int] = Reuse()
    for number in range(1000):
        reuse.put("context", request(f"{number:04} = "), ("x",), number)
    assert reuse.get("context", request("0000 = ")) is None
    assert reuse.get("context", request("0999 = ")) is not None


def texts_held_by(*things: object) -> list[str]:
    """All texts that can be reached from some objects of the server."""
    found, seen, stack = [], set(), list(things)
    while stack:
        thing = stack.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
            continue
        seen.add(id(thing))
        found += [thing] if isinstance(thing, str) else []
        stack += gc.get_referents(thing)
    return found


def test_what_may_be_suggested_again_holds_no_document() -> None:
    reuse: Reuse[Origin] = Reuse()
    here = request("x = 1\n" * 5_000, "\n" * 20_000)
    answer = Answer("file:///a.py", 30_000, here, "inline", texts=("first",))
    reuse.put("context", here, answer.texts, answer.origin)
    assert max(map(len, texts_held_by(reuse))) < 1_000
    known = reuse.get("context", replace(here, prefix=here.prefix + "fi"))
    assert known is not None
    assert (known.texts, known.origin.answer_id) == (("rst",), answer.answer_id)


def test_answers_are_forgotten_by_their_number_and_by_the_size_of_their_documents() -> None:
    answers = Answers()
    for number in range(200):
        answers.add(Answer(f"file:///{number}.py", 0, request("x"), "inline"))
    assert 10 < len(answers._by_id) < 100
    assert answers.last is not None
    assert answers.last.uri == "file:///199.py"
    large = [Answer(f"file:///{number}", 0, request("x" * 1_000_000), "inline") for number in range(20)]
    for answer in large:
        answers.add(answer)
    assert len(answers._by_id) < 10
    assert answers.get(large[-1].answer_id) is large[-1]
    huge = Answer("file:///huge", 0, request("x" * 50_000_000), "inline")
    answers.add(huge)
    assert [*answers._by_id] == [huge.answer_id]


def test_offers_hold_no_documents_and_are_written_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codefilter_lsp.feedback.SEEN_SECONDS", 0.0)
    recorder = FeedbackRecorder(Documents())
    for number in range(100):
        here = request(f"number = {number}\n" * 1_000)
        answer = Answer(f"file:///{number}.py", 12_000, here, "inline", texts=("first",))
        recorder.offered(answer, Folder(None, Settings()))
    assert len(recorder._offers) < 100
    assert max(map(len, texts_held_by(*recorder._offers.values()))) < 1_000
    recorder.end()
    recorder._thread.shutdown(wait=True)
    store = FeedbackStore()
    assert len(list(store.records())) == 100
    store.close()


def test_a_text_that_is_taken_late_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: clock.now, time=time.time, now=time.monotonic())
    monkeypatch.setattr("codefilter_lsp.feedback.time", clock)
    documents = Documents()
    recorder = FeedbackRecorder(documents)

    def insert(text: str) -> None:
        uri, end = document.uri, Position(0, len(documents.get(document.uri).text))  # type: ignore[union-attr]
        change = TextDocumentContentChangePartial(Range(end, end), text)
        recorder.edited(uri, documents.change(uri, [change], "utf-32")[1])  # type: ignore[index]

    document = documents.open(TextDocumentItem("file:///a.py", "python", 1, "x = "))
    answer = Answer(document.uri, 4, request("x = "), "inline", texts=("add(first)",))
    recorder.offered(answer, Folder(None, Settings()))
    clock.now += 3 * SETTLED_SECONDS  # it stands there while its reader thinks
    insert("add(first)")
    recorder.accepted(answer, 0)
    insert(" +")  # goes on at once
    insert(" 1")
    assert recorder._offers
    clock.now += 2 * SETTLED_SECONDS
    insert("0")
    assert not recorder._offers
    recorder.end()
    recorder._thread.shutdown(wait=True)
    store = FeedbackStore()
    [record] = store.records()
    store.close()
    assert (record.outcome, record.final_text) == (Outcome.EDITED, "add(first) + 10")


@given(text=st.text(min_size=1, max_size=20), cut=st.integers(0, 20), prefix=st.text(max_size=20))
def test_typing_along_never_changes_what_was_suggested(text: str, cut: int, prefix: str) -> None:
    reuse: Reuse[None] = Reuse()
    reuse.put("context", request(prefix), (text,), None)
    known = reuse.get("context", request(prefix + text[:cut]))
    if known is not None:
        assert text[:cut] + known.texts[0] == text


def test_options_in_both_spellings_on_top_of_others() -> None:
    base = read_options({"filter": "none", "blockLines": 4})
    options = read_options({"max_lines": 3, "latencyBudgetMs": 0, "idleUnloadMinutes": 0.5}, base)
    assert options.problems == ()
    assert options.overrides == {"filter": "none", "max_lines": 3}
    assert (options.block_lines, options.latency_budget_ms, options.idle_unload_minutes) == (4, 0, 0.5)
    assert read_options(None, base) is base


def test_null_takes_back_what_was_set_before() -> None:
    base = read_options({"filter": "none", "layout": "in-prefix", "debounceMs": 100, "candidates": 5})
    options = read_options({"filter": None, "debounceMs": None, "candidates": None, "other": None}, base)
    assert options == read_options({"layout": "in-prefix"})


@pytest.mark.parametrize("name", ["filter", "retriever", "chunker", "layout", "chunk_order"])
def test_a_name_of_nothing_falls_back_and_is_told(name: str, tmp_path: Path) -> None:
    found = folder_settings(None, read_options({name: "clasifier:0.5", "num_candidates": 3}))
    assert found.settings == replace(Settings(), num_candidates=3)
    [problem] = found.problems
    assert problem.startswith(f"unknown {name} 'clasifier:0.5'. One of: ")
    (tmp_path / "codefilter.toml").write_text(f"{name} = 'nothing'\n")
    assert folder_settings(tmp_path, EditorOptions()).settings == Settings()


def test_a_known_name_may_have_an_argument() -> None:
    assert folder_settings(None, read_options({"filter": "top-k:3"})).problems == ()
    assert folder_settings(None, read_options({"chunker": "syntax:40"})).problems == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"chunker": "window:40"},
            "unknown chunker 'window:40'. Choose one of: syntax, window; or syntax:LINES",
        ),
        ({"chunker": "syntax:0"}, "unknown chunker 'syntax:0'"),
        ({"filter": "all:3"}, "all takes nothing behind it, not '3'"),
        ({"filter": "top-k:x"}, "top-k takes a number of chunks, not 'x'"),
        ({"filter": "classifier:2"}, "classifier takes a probability from 0 to 1, not '2'"),
        ({"filter": "top-k-like:clasifier"}, "unknown filter 'clasifier'"),
        ({"filter": f"top-k:{'9' * 5_000}"}, "unknown filter 'top-k:99"),
        ({"filter": "random-like:" * 1_000 + "all"}, "unknown filter 'random-like"),
    ],
)
def test_an_argument_that_means_nothing_falls_back_and_is_told(options: dict[str, str], said: str) -> None:
    found = folder_settings(None, read_options(options))
    assert found.settings == Settings()
    [problem] = found.problems
    assert problem.startswith(said)
    assert len(problem) < 300


def test_a_filter_without_its_weights_stays_chosen(tmp_path: Path) -> None:
    (tmp_path / "codefilter.toml").write_text("filter = 'classifier:0.3'\n")
    options = read_options({"filter_weights": str(tmp_path)})
    found = folder_settings(tmp_path, options)
    assert (found.settings.filter, found.problems) == ("classifier:0.3", ())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"blockLines": 0},
            "block_lines in the editor's options must be a whole number from 1 to 100, not 0",
        ),
        ({"candidates": True}, "candidates in the editor's options must be a whole number"),
        ({"enabled": "yes"}, "enabled in the editor's options must be true or false, not 'yes'"),
        ({"languages": ["python"]}, "languages in the editor's options must be languages and true or false"),
        ({"idleUnloadMinutes": "never"}, "must be a number from 0"),
        ({"latencyBudgetS": 1}, "Did you mean latency_budget_ms?"),
        ({"overrides": {}}, "unknown setting 'overrides'"),
        ([1], "are not an object of names and values"),
    ],
)
def test_a_bad_option_falls_back_and_is_told(options: object, said: str) -> None:
    read = read_options(options)
    assert replace(read, problems=()) == EditorOptions()
    [problem] = read.problems
    assert said in problem


def test_languages() -> None:
    options = read_options({"languages": {"*": False, "python": True}})
    assert options.is_on_for("python")
    assert not options.is_on_for("go")
    assert EditorOptions().is_on_for("anything")
    assert not EditorOptions(enabled=False).is_on_for("python")


def test_what_decides_about_this_machine_needs_consent() -> None:
    options = read_options({"model": "/elsewhere/model", "engine": "openvino", "filter": "none"})
    counting, waiting = without_wishes(options)
    assert dict(counting.overrides) == {"filter": "none"}
    assert {wish.name for wish in waiting} == {"model", "engine"}
    grant([Wish("model", "/elsewhere/model")])
    counting, waiting = without_wishes(options)
    assert counting.overrides["model"] == "/elsewhere/model"
    assert [wish.name for wish in waiting] == ["engine"]
    assert without_wishes(read_options({"model": "/other"}))[1]


def test_names_defaults_and_the_users_own_choice_need_none() -> None:
    for options in ({"model": "smollm2-135m"}, {"engine": Settings().engine}, {"model": "fake:token_ms=1"}):
        assert without_wishes(read_options(options))[1] == []
    user_config_file().parent.mkdir(parents=True)
    user_config_file().write_text('model = "remote:https://mine.example"\n')
    assert without_wishes(read_options({"model": "remote:https://mine.example"}))[1] == []
    user_config_file().with_name("allowed.json").write_text("{broken")
    assert without_wishes(read_options({"model": "remote:https://other.example"}))[1]


async def test_idle_work_makes_way(executor_requests: NewestWins) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def read_ahead(cancellation: object) -> None:
        begun.set()
        try:
            cancellation.wait(30)  # type: ignore[attr-defined]
        finally:
            stopped.set()

    idle = asyncio.create_task(executor_requests.run_when_idle(read_ahead))
    await asyncio.to_thread(begun.wait, 10)
    assert await executor_requests.run("key", lambda _: "answer") == "answer"
    assert stopped.is_set()
    assert await idle is False


@pytest.fixture
def executor_requests() -> Iterator[NewestWins]:
    with ThreadPoolExecutor(1) as executor:
        yield NewestWins(executor)


def test_requests_whose_ends_take_them_out_can_all_be_cancelled() -> None:
    requests = make_server().protocol._request_futures
    futures = [Future[None]() for _ in range(5)]
    for number, future in enumerate(futures):
        requests[number] = future
        future.add_done_callback(lambda _, number=number: requests.pop(number))  # type: ignore[misc]
    for _, future in requests.items():  # as pygls does at shutdown
        future.cancel()
    assert all(future.cancelled() for future in futures)
    assert not requests


def test_models_that_nobody_wants_any_more_make_room() -> None:
    settings = [Settings(model=f"fake:token_ms={number}") for number in range(3)]
    wanted = settings[:2]
    models = Models(Cancellation(), lambda: models.keep(wanted))
    first, second = (models.get(one) for one in wanted)
    assert models.get(settings[0]) is first
    wanted = settings[1:]
    assert models.get(settings[1]) is second
    models.get(settings[2])
    assert models.get(settings[1]) is second
    assert models.get(settings[0]) is not first
    models.keep(())
    assert models.get(settings[1]) is not second


@pytest.mark.parametrize(
    ("files", "is_scanned"),
    [
        ({"build"}, False),
        ({"build/new"}, False),
        ({f"build/deep/{number}.o" for number in range(MANY_FILES + 1)}, False),
        ({"environment", "environment/lib"}, False),  # it says itself what it is
        ({f"{number}.log" for number in range(MANY_FILES + 1)}, False),
        ({"store"}, True),
        ({f"store/{number}.py" for number in range(MANY_FILES + 1)}, True),
        ({"build/.gitignore"}, True),
    ],
)
def test_what_builds_write_into_ignored_folders_lets_nothing_be_scanned(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch, files: set[str], is_scanned: bool
) -> None:
    for folder in ("build/new", "environment/lib", "store"):
        (sample_repository / folder).mkdir(parents=True)
    (sample_repository / "environment" / "pyvenv.cfg").touch()
    with RepositoryIndex.open(sample_repository) as index:
        scan, reports = index.refresh, list[IndexReport]()

        def refresh(**options: Any) -> IndexReport:
            reports.append(scan(**options))
            return reports[-1]

        monkeypatch.setattr(index, "refresh", refresh)
        assert Changes(files=files).apply(index, Cancellation()) == set()
        assert bool(reports) == is_scanned


@pytest.mark.parametrize("changed", ["shop", "shop/orders.py"])
def test_what_is_ignored_by_now_leaves_the_index(sample_repository: Path, changed: str) -> None:
    with RepositoryIndex.open(sample_repository) as index:
        (sample_repository / ".git" / "info").mkdir(parents=True)
        (sample_repository / ".git" / "info" / "exclude").write_text("shop/\n")  # which nobody watches
        for file in (sample_repository / "shop").iterdir():
            file.unlink()
        (sample_repository / "shop").rmdir()
        Changes(files={changed}).apply(index, Cancellation())
        left = {path for path in index.paths if path.startswith("shop/")}
        assert "shop/orders.py" not in left
        assert bool(left) == (changed != "shop")


@pytest.mark.parametrize(("everything", "most"), [(False, MANY_FILES + 2), (True, 0)])
def test_very_many_new_files_are_not_judged_one_by_one(
    sample_repository: Path, monkeypatch: pytest.MonkeyPatch, everything: bool, most: int
) -> None:
    judged = list[str]()

    def judge(root: Path, path: str) -> SkipReason | None:
        judged.append(path)
        return skip_reason(root, path)

    monkeypatch.setattr("codefilter_lsp.folders.skip_reason", judge)
    (sample_repository / "shop" / "late.py").write_text("LATE = True\n")
    with RepositoryIndex.open(sample_repository) as index:
        (sample_repository / "shop" / "late.py").write_text("LATE = False\n")
        files = {"shop/late.py", *(f"new/{number}.py" for number in range(10 * MANY_FILES))}
        assert Changes(files=files, everything=everything).apply(index, Cancellation()) == {""}
        assert "False" in index.file_text("shop/late.py")
    assert len(judged) <= most

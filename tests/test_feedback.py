from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codefilter.cli import main
from codefilter.dataset.storage import read_examples
from codefilter.errors import CodeFilterError
from codefilter.feedback import (
    FeedbackRecord,
    FeedbackStore,
    Outcome,
    feedback_file,
    find_place,
    summarize,
)
from codefilter_lsp.positions import from_utf16_length
from codefilter_lsp.tracking import Span
from tests.labelled_repositories import ORDERS, SHOP_FILES, WEATHER_FILES, write_repository

RECORD = FeedbackRecord(
    record_id="1",
    time=1000.0,
    repository="/repository",
    path="a.py",
    language="python",
    before="total = ",
    after="\n",
    text="add(first)",
    outcome=Outcome.ACCEPTED,
    accepted_characters=10,
    final_text="add(first, second)",
    model="fake",
    filter="all",
    retrieved=10,
    used=3,
)


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(tmp_path / "folder" / "feedback.sqlite3")


def test_records_come_back_and_are_replaced(store: FeedbackStore) -> None:
    store.put(RECORD)
    store.put(replace(RECORD, record_id="2", time=2.0, outcome=Outcome.SHOWN, final_text=None))
    store.put(replace(RECORD, outcome=Outcome.EDITED))
    assert list(store.records()) == [
        replace(RECORD, record_id="2", time=2.0, outcome=Outcome.SHOWN, final_text=None),
        replace(RECORD, outcome=Outcome.EDITED),
    ]
    assert list(store.records("/other")) == []
    summary = summarize(store)
    assert (summary.total, summary.acceptance_rate) == (2, 0.5)
    assert summary.outcomes == {Outcome.SHOWN: 1, Outcome.EDITED: 1}
    store.close()
    assert len(list(FeedbackStore(store.path).records("/repository"))) == 2


def test_half_a_character_loses_no_record(store: FeedbackStore) -> None:
    store.put(replace(RECORD, text="a\ud83d", repository="/\udcff"))
    [found] = store.records("/\udcff")
    assert (found.text, found.repository) == ("a?", "/?")
    assert store.delete(repository="/\udcff") == 1


def test_only_the_user_can_read_it(store: FeedbackStore) -> None:
    assert store.path.stat().st_mode & 0o077 == 0
    assert store.path.parent.stat().st_mode & 0o077 == 0


def test_what_is_deleted_is_gone_from_the_disk(store: FeedbackStore) -> None:
    store.put(replace(RECORD, text="very_private_text"))
    store.put(replace(RECORD, record_id="2", repository="/other", time=5.0))
    assert store.delete(repository="/repository") == 1
    assert store.delete(before=4.0) == 0
    store.close()
    assert b"very_private_text" not in b"".join(p.read_bytes() for p in store.path.parent.iterdir())
    store = FeedbackStore(store.path)
    assert store.delete() == 1
    assert summarize(store).acceptance_rate is None


def test_the_oldest_go_when_there_are_too_many(store: FeedbackStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codefilter.feedback._MAX_RECORDS", 3)
    monkeypatch.setattr("codefilter.feedback._PRUNE_EVERY", 5)
    for number in range(10):
        store.put(replace(RECORD, record_id=str(number), time=float(number)))
    assert [record.record_id for record in store.records()] == ["7", "8", "9"]


def test_a_file_that_another_server_is_just_making_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "feedback.sqlite3", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, other.execute, ["COMMIT"])
    timer.start()
    store = FeedbackStore(tmp_path / "feedback.sqlite3")
    timer.join()
    store.put(RECORD)
    assert list(store.records()) == [RECORD]


def test_a_broken_file_is_an_error_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite3"
    path.write_text("no database, but quite long enough to be looked at " * 50)
    with pytest.raises(CodeFilterError) as caught:
        FeedbackStore(path)
    assert "Delete the file" in caught.value.hint
    connection = sqlite3.connect(tmp_path / "fine.sqlite3")
    connection.close()


@pytest.mark.parametrize(
    ("record", "text", "expected"),
    [
        (RECORD, "x = 1\ntotal = add(first, second)\ny = 2\n", (1, 2)),
        (replace(RECORD, final_text=None), "total = add(first)\n", (0, 1)),
        (replace(RECORD, final_text=None, outcome=Outcome.SHOWN), "total = add(first)\n", None),
        (replace(RECORD, outcome=Outcome.REJECTED), "total = add(first, second)", (0, 1)),
        (RECORD, "total = add(first)\n", None),
        (RECORD, "total = add(first, second)\n" * 2, None),  # which of them?
        (
            replace(RECORD, before="def f():", final_text="\n    x = 1\n    return x\n"),
            "def f():\n    x = 1\n    return x\n",
            (1, 3),
        ),
        (replace(RECORD, final_text="  \n"), "total =   \n", None),
    ],
)
def test_the_place_is_found_again(
    record: FeedbackRecord, text: str, expected: tuple[int, int] | None
) -> None:
    assert find_place(record, text) == expected


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feedback", "show"]) == 0
    assert "nothing is kept" in capsys.readouterr().out
    assert main(["feedback", "delete", "--all"]) == 0
    store = FeedbackStore()
    store.put(RECORD)
    store.put(replace(RECORD, record_id="2", outcome=Outcome.REJECTED, repository="/other"))
    store.close()
    capsys.readouterr()
    assert main(["feedback", "show", "--limit", "1"]) == 0
    shown = capsys.readouterr().out
    assert "2 completions in" in shown
    assert "1 accepted, 1 rejected (50% taken)" in shown
    assert "a.py  add(first)" in shown
    assert shown.splitlines()[-1].startswith("2  ")
    assert main(["feedback", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["acceptance_rate"] == 0.5
    assert main(["feedback", "path"]) == 0
    assert capsys.readouterr().out.strip() == str(feedback_file())
    assert main(["feedback", "delete"]) == 2
    assert main(["feedback", "delete", "--all", "--before", "2020-01-01"]) == 2
    assert main(["feedback", "delete", "--before", "1970-01-01"]) == 0
    assert "0 records deleted" in capsys.readouterr().out
    assert main(["feedback", "delete", "--all"]) == 0
    assert "2 records deleted" in capsys.readouterr().out


edits = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5), st.text("xyz", max_size=4)), max_size=8)


@given(
    before=st.text("ab", max_size=20),
    inside=st.text("IJ", max_size=8),
    after=st.text("cd", max_size=20),
    edits=edits,
)
def test_a_span_follows_its_text(
    before: str, inside: str, after: str, edits: list[tuple[int, int, str]]
) -> None:
    text, span = before + inside + after, Span(len(before), len(before) + len(inside))
    for start, length, new in edits:
        start = min(start, len(text))
        end = min(start + length, len(text))
        if not span.edit(start, end, len(new)):
            return
        text = text[:start] + new + text[end:]
    # letters of before and after never get in, those of inside never get out
    assert not set("abcd") & set(text[span.start : span.end])
    assert not set("IJ") & set(text[: span.start] + text[span.end :])


@given(text=st.text("aé😀", max_size=8), units=st.integers(0, 20))
def test_lengths_in_utf16(text: str, units: int) -> None:
    length = from_utf16_length(text, units)
    taken = len(text[:length].encode("utf-16-le")) // 2
    assert taken <= units
    assert length == len(text) or len(text[: length + 1].encode("utf-16-le")) // 2 > units


def test_feedback_becomes_labelled_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_repository(tmp_path / "shop", SHOP_FILES)
    weather = write_repository(tmp_path / "weather", WEATHER_FILES)
    path, text = next((path, text) for path, text in SHOP_FILES.items() if text == ORDERS)
    lines = text.split("\n")
    number = next(i for i, line in enumerate(lines) if "costs = " in line)
    stands = lines[number].strip()
    before = "\n".join([*lines[number - 3 : number], "    "])
    store = FeedbackStore()
    taken = replace(RECORD, repository=str(shop), path=path, before=before, text=stands, final_text=stands)
    store.put(taken)
    store.put(replace(taken, record_id="2", final_text="is gone"))
    store.put(replace(taken, record_id="3", repository=str(tmp_path / "gone")))
    store.close()
    command = ["dataset", "from-feedback", "--model", "fake", "--out", str(tmp_path / "labels")]
    assert main(command) == 2
    assert "--control-repo" in capsys.readouterr().err
    assert main([*command, "--control-repo", str(weather)]) == 0
    assert "1 of 3 completions" in capsys.readouterr().out
    [example] = read_examples(tmp_path / "labels")
    assert (example.repository, example.path, example.start_line) == ("shop", path, number)
    assert main([*command, str(weather)]) == 2
    capsys.readouterr()
    assert main([*command, "--control-repo", str(weather)]) == 0
    assert "0 of 3 completions" in capsys.readouterr().out  # the one that is labelled already is nothing new
    recipe = json.loads((tmp_path / "labels" / "dataset.json").read_text())["recipe"]
    assert (recipe["prefix_tokens"], recipe["suffix_tokens"]) == (256, 64)
    assert main([*command, "--control-repo", str(weather), "--prefix-tokens", "80"]) == 2
    assert "prefix_tokens 256, now 80" in capsys.readouterr().err

"""The commands that look at labels, on a small dataset made with the fake model."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from codefilter.cli import main
from codefilter.dataset.duplicates import Reference, find_exclusions
from codefilter.dataset.exclusions import Exclusion, read_exclusions, write_exclusions
from codefilter.dataset.materialize import Materializer
from codefilter.dataset.storage import num_examples, read_examples
from codefilter.types import SourceFile
from tests.labelled_repositories import ORDERS, SHOP_FILES, WEATHER_FILES, write_repository

SMALL = ["--prefix-tokens", "120", "--suffix-tokens", "40", "--k", "3", "--model", "fake"]


@pytest.fixture
def labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    shop = write_repository(tmp_path / "shop", SHOP_FILES)
    weather = write_repository(tmp_path / "weather", WEATHER_FILES)
    out = tmp_path / "labels"
    arguments = ["dataset", "build", str(shop), str(weather), "--out", str(out), "--levels", "line,chunk"]
    assert main([*arguments, "--per-repo", "6", *SMALL]) == 0
    captured = capsys.readouterr()
    assert "12 examples in" in captured.out
    assert "tasks/min" in captured.err
    return out


def repos(labels: Path) -> list[str]:
    return [str(labels.parent / "shop"), str(labels.parent / "weather")]


def test_stats_say_what_the_labels_are_and_write_the_card(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "stats.html"
    assert main(["dataset", "stats", str(labels), "--html", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "12 tasks of 2 repositories" in printed
    html = page.read_text()
    assert html.count("<svg") == 5
    assert not any(network in html for network in ("<script", "<link", "src="))
    card = (labels / "README.md").read_text()
    assert "labels-00000.parquet" in card
    assert card.startswith("---\nconfigs:")
    assert main(["dataset", "stats", str(labels), "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats["whole"]["examples"] == 12
    assert sum(row["chunks"] for row in stats["by_rank"]) == stats["whole"]["chunks"]
    assert (labels / "README.md").read_text() == card


def test_show_prints_and_renders_one_task(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [record.example_id for record in read_examples(labels)]
    number = next(i for i, name in enumerate(names, start=1) if name.startswith("shop/shop/orders.py"))
    record = list(read_examples(labels))[number - 1]
    assert main(["dataset", "show", str(labels), str(number), *repos(labels)]) == 0
    printed = capsys.readouterr().out
    target = ORDERS.split("\n")[record.start_line]
    assert target.strip() in printed
    assert "positive" in printed or "neutral" in printed
    page = tmp_path / "task.html"
    assert main(["dataset", "show", str(labels), names[number - 1], *repos(labels), "--html", str(page)]) == 0
    html = page.read_text()
    assert html.count("<details") == len(record.chunks) + len(record.controls)
    assert "rgba(" in html
    assert main(["dataset", "show", str(labels), "nothing-of-that-name"]) == 2


def test_materialize_follows_the_split(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "split", str(labels), "--validation", "0.5"]) == 0
    assert "validation: 6 examples of 1 repositories" in capsys.readouterr().out
    text = labels.parent / "text"
    assert main(["dataset", "materialize", str(labels), *repos(labels), "--out", str(text)]) == 0
    parts = {path.name.split("-")[0]: pq.read_table(path) for path in text.glob("*.parquet")}
    held = {part: set(table["repository"].to_pylist()) for part, table in parts.items()}
    assert {part: len(names) for part, names in held.items()} == {"train": 1, "validation": 1}
    assert held["train"].isdisjoint(held["validation"])


def test_validate_fails_where_a_text_changed(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "validate", str(labels), *repos(labels)]) == 0
    assert "12 examples are as they should be" in capsys.readouterr().out
    for path in (labels.parent / "weather" / "weather").glob("*.py"):
        path.write_text(path.read_text() + "# changed\n")
    assert main(["dataset", "validate", str(labels), *repos(labels)]) == 1
    assert main(["dataset", "validate", str(labels), "--numbers-only"]) == 0


def test_a_dataset_agrees_with_itself(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "compare", str(labels), str(labels)]) == 0
    assert "Polarity is the same for 100.0 %" in capsys.readouterr().out


def test_examples_whose_code_stands_in_a_benchmark_are_left_out(labels: Path) -> None:
    materializer = Materializer({"shop": labels.parent / "shop", "weather": labels.parent / "weather"})
    examples = [materializer.materialize(record) for record in read_examples(labels)]
    copied = ORDERS.replace("    ", "  ").replace("What a customer wants.", "An order.")
    references = [Reference("bench/store", SourceFile("store.py", copied, "python", ""))]
    exclusions = find_exclusions(examples, references)
    expected = {e.record.example_id for e in examples if e.record.path == "shop/orders.py"}
    assert {exclusion.example_id for exclusion in exclusions} == expected
    assert expected
    assert all(exclusion.similarity >= 0.7 for exclusion in exclusions)
    unrelated = SourceFile("x.py", WEATHER_FILES["weather/fog.py"].replace("fog", "zeppelin"), "python", "")
    others = [e for e in examples if e.record.repository == "shop"]
    assert find_exclusions(others, [Reference("bench/x", unrelated)]) == []
    write_exclusions(labels, exclusions, ["bench"])
    assert read_exclusions(labels) == exclusions
    assert {record.example_id for record in read_examples(labels)}.isdisjoint(expected)
    assert num_examples(labels) == 12 - len(expected)
    assert len(list(read_examples(labels, with_excluded=True))) == 12


def test_an_exclusion_is_not_labelled_again(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = next(read_examples(labels))
    write_exclusions(labels, [Exclusion(first.example_id, "bench/x", 0.9)], ["bench"])
    arguments = ["dataset", "build", *repos(labels), "--out", str(labels), "--levels", "line,chunk"]
    assert main([*arguments, "--per-repo", "6", *SMALL]) == 0
    assert num_examples(labels) == 11


def test_levels_take_a_number_of_tasks(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = labels.parent / "few"
    arguments = ["dataset", "build", *repos(labels), "--out", str(few), "--per-repo", "1", *SMALL]
    assert main([*arguments, "--levels", "line=1"]) == 0
    chosen = {record.example_id for record in read_examples(few)}
    assert len(chosen) == 2
    assert chosen < {record.example_id for record in read_examples(labels)}  # the first of a larger build's
    for wrong in ("line=", "line=0", "word"):
        assert main([*arguments, "--levels", wrong]) == 2
    assert main([*arguments, "--executor", "cloud"]) == 2
    assert "unknown executor" in capsys.readouterr().err

"""The commands that look at labels, on a small dataset made with the fake model."""

import json
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from codefilter.cli import main
from codefilter.dataset import duplicates
from codefilter.dataset.charts import draw_all
from codefilter.dataset.coalitions import coalition_figures, read_coalitions
from codefilter.dataset.comparisons import read_agreements
from codefilter.dataset.cost import corpus_cost
from codefilter.dataset.duplicates import (
    Reference,
    benchmark_references,
    find_exclusions,
    find_repeated,
    keep_others,
)
from codefilter.dataset.exclusions import Compared, Exclusion, read_exclusions, write_exclusions
from codefilter.dataset.figures import label_figures
from codefilter.dataset.materialize import Materializer
from codefilter.dataset.show import show_example, terminal_view
from codefilter.dataset.states import read_states
from codefilter.dataset.stats import of_agreement
from codefilter.dataset.storage import num_examples, read_examples
from codefilter.errors import CodeFilterError
from codefilter.labeling import LabelOptions
from codefilter.lm.fake import FakeLanguageModel, byte_tokenizer_spec
from codefilter.packages import PackagePin
from codefilter.types import SourceFile
from tests.labelled_repositories import (
    ORDERS,
    SHOP_FILES,
    SMALL,
    WEATHER_FILES,
    label_with_fake,
    write_repository,
)
from tests.remote_servers import Handler, ScriptedServer, TextDouble, VllmDouble, status


@pytest.fixture
def labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = label_with_fake(tmp_path, 6)
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
    assert "rank (1 is the retriever" in html
    assert not any(network in html for network in ("<script", "<link", "src="))
    assert "Near-duplicates were not searched for yet" in (labels / "README.md").read_text()
    write_exclusions(labels, [], Compared(10, ("bench",)))
    assert main(["dataset", "stats", str(labels)]) == 0
    assert "Near-duplicates of the first 10 tasks" in (labels / "README.md").read_text()
    capsys.readouterr()
    card = (labels / "README.md").read_text()
    assert "labels-00000.parquet" in card
    assert card.startswith("---\nconfigs:")
    assert main(["dataset", "stats", str(labels), "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats["whole"]["examples"] == 12
    assert sum(row["chunks"] for row in stats["by_rank"]) == stats["whole"]["chunks"]
    assert (labels / "README.md").read_text() == card


def test_stats_tell_what_other_labels_and_sets_of_chunks_say(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "stats", str(labels)]) == 0
    printed = capsys.readouterr().out
    assert "Sets of chunks were not tried yet" in printed
    assert "Not compared yet" in printed
    other = tmp_path / "other"
    again = ["dataset", "build", *repos(labels), "--out", str(other), "--levels", "line,chunk", "--per-repo"]
    assert main([*again, "6", *SMALL, "--layout", "after-suffix"]) == 0
    for _ in range(2):  # the second time it is replaced
        assert main(["dataset", "compare", str(labels), str(other), "--keep"]) == 0
    assert main(["dataset", "coalitions", str(labels), *repos(labels), "--limit", "2"]) == 0
    capsys.readouterr()
    assert main(["dataset", "stats", str(labels)]) == 0
    printed = capsys.readouterr().out
    (found,) = read_agreements(labels)
    kept = json.loads((labels / "agreements.json").read_text())
    for one in kept:  # as it was written before all chunks together were compared
        del one["everything_correlation"], one["everything_same_sign"]
    (labels / "agreements.json").write_text(json.dumps(kept))
    (old,) = read_agreements(labels)
    assert replace(found, everything_correlation=None, everything_same_sign=None) == old
    assert of_agreement(found).startswith(of_agreement(old).rstrip("."))
    found = old
    assert (found.second, found.examples) == ("layout after-suffix", 12)
    assert f"Labelled again with layout after-suffix, 12 tasks and {found.chunks} chunks" in printed
    figures = coalition_figures(read_coalitions(labels))
    assert f"best set {figures.nats_best_set:.2f}" in printed
    assert "No GPU was measured" in printed
    card = (labels / "README.md").read_text()
    for part in ("agreements.json", "coalitions.jsonl", "Labelled again", "290,000 Python repositories"):
        assert part in card
    assert main(["dataset", "stats", str(labels), "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats["agreements"][0]["kappa"] == found.kappa
    assert stats["coalitions"]["examples"] == figures.examples == 2


def test_a_readme_that_is_no_card_is_left_alone(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = labels / "README.md"
    readme.write_text("# My notes\n")
    assert main(["dataset", "stats", str(labels)]) == 0
    assert "no card is written" in capsys.readouterr().err
    assert readme.read_text() == "# My notes\n"


def test_labels_that_share_no_task_are_not_kept_as_compared(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    build = ["dataset", "build", *repos(labels), "--out", str(other), "--levels", "function", *SMALL]
    assert main([*build, "--per-repo", "1"]) == 0
    for more in ([], ["--keep"], ["--json"]):
        assert main(["dataset", "compare", str(labels), str(other), *more]) == 2
        captured = capsys.readouterr()
        assert "share no example" in captured.err
        assert "correlate" not in captured.out
    assert read_agreements(labels) == ()


def test_a_corpus_costs_what_the_median_task_took() -> None:
    whole = replace(
        label_figures("all", [], LabelOptions()),
        prompt_tokens_none=100.0,
        prompt_tokens_all=1000.0,
        prompt_tokens_one_chunk=200.0,
        seconds_per_task=7.0,
        target_tokens=30.0,
        draft_tokens=10.0,
    )
    cost = corpus_cost(whole, ["x, 2 cores", "x, 2 cores"], single_prompts=13)
    assert cost.tasks == 2_900_000
    assert cost.machine_hours == pytest.approx(2_900_000 * 7 / 3600)
    assert cost.tokens == 2_900_000 * (100 + 1000 + 13 * 200 + 15 * (30 + 10))
    assert "(x, 2 cores)" in cost.sentence
    assert f"{2_900_000 * 7 / 3600:,.0f} hours" in cost.sentence


@pytest.mark.parametrize("thresholds", [("0.2", "-0.2"), ("nan", "nan"), ("-inf", "0.2"), ("-0.2", "inf")])
def test_thresholds_that_are_none_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], thresholds: tuple[str, str]
) -> None:
    arguments = ["dataset", "build", "--out", str(tmp_path / "out"), "--thresholds", *thresholds]
    assert main(arguments) == 2
    assert "T_n is above T_p" in capsys.readouterr().err


def test_pictures_of_an_empty_dataset_are_empty() -> None:
    assert all(svg.lstrip().startswith("<") for svg in draw_all([], {}, LabelOptions()).values())


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


def test_arms_without_a_common_task_are_an_error_that_says_where_to_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    command = ["dataset", "choose", str(tmp_path / "empty"), "--arms", "default", "--model", "fake"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "no task is labelled under every arm" in said
    assert "dataset.json in each arm's folder" in said


def test_materialize_follows_the_split(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "split", str(labels), "--validation", "0.5"]) == 0
    assert "validation: 6 examples of 1 repositories" in capsys.readouterr().out
    text = labels.parent / "text"
    assert main(["dataset", "materialize", str(labels), *repos(labels), "--out", str(text)]) == 0
    parts = {path.name.split("-")[0]: pq.read_table(path) for path in text.glob("*.parquet")}
    held = {part: set(table["repository"].to_pylist()) for part, table in parts.items()}
    assert {part: len(names) for part, names in held.items()} == {"train": 1, "validation": 1}
    assert held["train"].isdisjoint(held["validation"])
    assert main(["dataset", "split", str(labels), "--validation", "0", "--again"]) == 0
    assert main(["dataset", "materialize", str(labels), *repos(labels), "--out", str(text)]) == 0
    assert [path.name for path in text.glob("*.parquet")] == ["train-00000.parquet"]  # nothing stands twice


def test_validate_fails_where_a_text_changed(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "validate", str(labels), *repos(labels)]) == 0
    assert "12 examples are as they should be" in capsys.readouterr().out
    for path in (labels.parent / "weather" / "weather").glob("*.py"):
        path.write_text(path.read_text() + "# changed\n")
    assert main(["dataset", "validate", str(labels), *repos(labels)]) == 1
    assert main(["dataset", "validate", str(labels), "--numbers-only"]) == 0


def test_a_dataset_agrees_with_itself(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "compare", str(labels), str(labels)]) == 0
    printed = capsys.readouterr().out
    assert "Polarity is the same for 100.0 %" in printed
    assert "impacts of all that fit together correlate 1.00, their sign is the same for 100.0 %" in printed


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
    windows = [  # of one file, by records that count their lines from 0
        Reference("bench/store", SourceFile("store.py", text, "python", ""))
        for text in (unrelated.text, copied)
    ]
    assert {one.example_id for one in find_exclusions(examples, windows)} >= expected
    write_exclusions(labels, exclusions, Compared(12, ("bench",)))
    assert read_exclusions(labels) == exclusions
    assert keep_others([], exclusions, ["packages of role train"]) == exclusions  # bench is not here any more
    assert keep_others([], exclusions, ["packages of role bench"]) == exclusions  # another bench
    assert keep_others([], exclusions, ["bench"]) == []
    assert keep_others(exclusions, exclusions, ["other"]) == exclusions
    assert {record.example_id for record in read_examples(labels)}.isdisjoint(expected)
    assert num_examples(labels) == 12 - len(expected)
    assert len(list(read_examples(labels, with_excluded=True))) == 12


def test_an_exclusion_is_not_labelled_again(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = next(read_examples(labels))
    write_exclusions(labels, [Exclusion(first.example_id, "bench/x", 0.9)], Compared(12, ("bench",)))
    arguments = ["dataset", "build", *repos(labels), "--out", str(labels), "--levels", "line,chunk"]
    assert main([*arguments, "--per-repo", "6", *SMALL]) == 0
    assert num_examples(labels) == 11


@pytest.fixture
def server() -> Iterator[VllmDouble]:
    server = VllmDouble()
    yield server
    server.close()


def served(server: ScriptedServer, folder: Path) -> str:
    """A server's name for ``--model``."""
    (folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer_spec()))
    return f"remote:{server.url}?tokenizer={folder}"


FEW = ["--levels", "line", "--per-repo", "3", *SMALL[:-2]]


def test_a_server_labels_and_its_labels_are_shown_and_tried_in_sets(
    labels: Path, server: VllmDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = served(server, tmp_path)
    out, local = tmp_path / "served", tmp_path / "local"
    build = ["dataset", "build", *repos(labels), *FEW]
    assert main([*build, "--out", str(out), "--model", name]) == 0
    assert main([*build, "--out", str(local), "--model", "fake"]) == 0
    found = {record.example_id: record for record in read_examples(out)}
    expected = {record.example_id: record for record in read_examples(local)}
    assert found.keys() == expected.keys()
    for example_id, record in found.items():
        impacts = [chunk.impact for chunk in record.chunks]
        assert impacts == pytest.approx([c.impact for c in expected[example_id].chunks], abs=1e-3)
        assert record.baseline.target_entropies == ()  # no server tells them
    assert main(["dataset", "validate", str(out), *repos(labels)]) == 0
    capsys.readouterr()

    record = next(record for record in found.values() if record.path == "shop/orders.py")
    show = ["dataset", "show", str(out), record.example_id, *repos(labels)]
    assert main(show) == 2
    assert "--model remote:URL" in capsys.readouterr().err  # a server's address is not kept in labels
    assert main([*show, "--model", name]) == 0
    assert ORDERS.split("\n")[record.start_line].strip() in capsys.readouterr().out
    page = tmp_path / "served.html"
    assert main([*show, "--model", name, "--html", str(page)]) == 0
    assert "rgba(" in page.read_text()

    coalitions = ["dataset", "coalitions", str(out), *repos(labels), "--limit", "2"]
    assert main(coalitions) == 2
    assert main([*coalitions, "--model", "fake"]) == 2
    assert "other weights" in capsys.readouterr().err
    assert main([*coalitions, "--model", name]) == 0
    assert main(["dataset", "coalitions", str(local), *repos(labels), "--limit", "2"]) == 0
    sets, alone = read_coalitions(out), read_coalitions(local)
    assert [label.example_id for label in sets] == [label.example_id for label in alone]
    assert sets
    for one, other in zip(sets, alone, strict=True):
        assert [s.ranks for s in one.sets] == [s.ranks for s in other.sets]
        assert [s.nats for s in one.sets] == pytest.approx([s.nats for s in other.sets], abs=1e-2)


def test_a_server_that_goes_away_takes_no_task_with_it(
    labels: Path, server: VllmDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "served"
    build = ["dataset", "build", *repos(labels), *FEW, "--out", str(out), "--model", served(server, tmp_path)]
    assert main([*build, "--limit", "1"]) == 0
    server.faults = [refuse_prompts] * 200
    assert main(build) == 1
    assert "answered 401" in capsys.readouterr().err
    description = json.loads((out / "dataset.json").read_text())
    assert description["skipped"] == []
    server.faults = []
    assert main(build) == 0
    assert num_examples(out) == 6


def refuse_prompts(handler: Handler) -> bool:
    """Whatever is longer than what a server is tried with when it is met."""
    _, body, _ = handler.server.requests[-1]
    return body is not None and len(body.get("prompt", "")) > 50 and status(401)(handler)


def test_a_server_that_cannot_score_is_refused_at_once(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text_only = TextDouble()
    try:
        arguments = [*FEW, "--out", str(tmp_path / "served"), "--model", served(text_only, tmp_path)]
        assert main(["dataset", "build", *repos(labels), *arguments]) == 1
    finally:
        text_only.close()
    assert "cannot score text" in capsys.readouterr().err
    assert not (tmp_path / "served" / "dataset.json").exists()


def test_states_are_asked_for_on_the_command_line_and_no_server_gives_them(
    labels: Path, server: VllmDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["dataset", "build", *repos(labels), *FEW, "--states", "--out"]
    assert main([*arguments, str(tmp_path / "kept"), "--model", "fake"]) == 0
    for record in read_examples(tmp_path / "kept"):
        assert read_states(tmp_path / "kept", record.example_id).chunks.shape[0] == len(record.chunks)
    capsys.readouterr()
    assert main([*arguments, str(tmp_path / "served"), "--model", served(server, tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "does not give hidden states" in captured.err
    assert "hint: " in captured.err


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


def test_of_code_that_stands_in_two_repositories_the_first_ones_examples_stay(labels: Path) -> None:
    materializer = Materializer({"shop": labels.parent / "shop", "weather": labels.parent / "weather"})
    examples = [materializer.materialize(record) for record in read_examples(labels)]
    assert find_repeated(examples) == []  # though examples of one repository share a chunk, and files
    copied = [example for example in examples if example.record.path == "shop/orders.py"]
    fork = [
        replace(
            example,
            record=replace(example.record, repository="fork", example_id=f"fork/{example.record.example_id}"),
        )
        for example in copied
    ]
    found = find_repeated([*examples, *fork])
    assert [one.example_id for one in found] == [example.record.example_id for example in fork]
    assert {one.similarity for one in found} == {1.0}
    assert all(one.reference.startswith("other repositories of this dataset/shop/") for one in found)
    before = [example for example in examples if example not in copied]
    later = find_repeated([*before, *fork, *copied])  # what comes to an old repository is new all the same
    assert [one.example_id for one in later] == [example.record.example_id for example in copied]


def test_packages_are_told_apart_from_the_benchmark_of_their_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = PackagePin("toy", "1", "toy.whl", "", "repoeval", 1, 1)
    monkeypatch.setattr(duplicates, "load_corpora", lambda: (pin,))
    monkeypatch.setattr(duplicates, "fetch_package", lambda pin: write_repository(tmp_path, SHOP_FILES))
    monkeypatch.setattr(duplicates, "BENCHMARKS", {})
    compared: list[str] = []
    (name,) = {reference.name for reference in benchmark_references(compared.append)}
    assert compared == ["packages of role repoeval"]
    of_package, of_benchmark = (
        Exclusion("a", f"{name}/x.py:1-9", 0.9),
        Exclusion("b", "repoeval/r/x.py:1-9", 1),
    )
    assert keep_others([], [of_package, of_benchmark], compared) == [of_benchmark]
    assert keep_others([], [of_package, of_benchmark], ["repoeval"]) == [of_package]


def test_stats_of_a_folder_that_may_only_be_read(
    labels: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: str) -> None:
        raise CodeFilterError(f"cannot use {path}: Read-only file system")

    monkeypatch.setattr("codefilter.cli.labels.write_atomically", refuse)
    for form in ([], ["--json"]):
        assert main(["dataset", "stats", str(labels), *form]) == 0
        captured = capsys.readouterr()
        assert "12" in captured.out
        assert "the card is as it was: cannot use" in captured.err
    assert not (labels / "README.md").exists()


def test_no_labelled_text_commands_the_terminal(labels: Path) -> None:
    materializer = Materializer({"shop": labels.parent / "shop", "weather": labels.parent / "weather"})
    example = materializer.materialize(next(read_examples(labels)))
    shown = show_example(example, FakeLanguageModel().tokenizer)
    evil = "\x1b]0;title\x07\tx\n\x9b31m"
    hostile = replace(
        shown,
        before=evil,
        draft=evil,
        tokens=(evil, *shown.tokens[1:]),
        chunks=tuple(replace(chunk, text=evil) for chunk in shown.chunks),
    )
    console = Console(file=StringIO(), width=80)
    console.print(terminal_view(hostile, top=1))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert printed.count(" ]0;title ") == 6  # before, truth, draft, all together, the best chunk's two
    assert printed.replace("\n", "").isprintable()


def test_duplicates_leaves_out_what_stands_in_a_benchmark_package(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = write_repository(tmp_path / "toy", {"toy/store.py": ORDERS})
    monkeypatch.setattr(
        duplicates, "load_corpora", lambda: (PackagePin("toy", "1", "toy.whl", "", "benchmark", 1, 1),)
    )
    monkeypatch.setattr(duplicates, "fetch_package", lambda pin: package)
    monkeypatch.setattr(duplicates, "BENCHMARKS", {})
    copied = {record.example_id for record in read_examples(labels) if record.path == "shop/orders.py"}
    assert copied
    for _ in range(2):  # what was left out before is compared again
        assert main(["dataset", "duplicates", str(labels), *repos(labels)]) == 0
        printed = capsys.readouterr().out
        assert "compared with packages of role benchmark: 1 files" in printed
        assert f"{len(copied)} examples left out" in printed
        assert {exclusion.example_id for exclusion in read_exclusions(labels)} == copied
    assert main(["dataset", "duplicates", str(labels), *repos(labels), "--threshold", "7"]) == 2


def test_choose_compares_prompt_settings_by_the_labels_they_give(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, record = tmp_path / "chosen", tmp_path / "choose.json"
    arms = ["--arms", "num_candidates=2,num_candidates=2/layout=after-suffix"]
    small = ["--tasks", "4", "--model", "fake"]
    choose = ["dataset", "choose", *repos(labels), *arms, "--out", str(out), *small]
    assert main(choose) == 0
    printed = capsys.readouterr().out
    assert "4 tasks, the same for every arm" in printed
    assert "correlation within tasks" in printed
    assert main([*choose, "--compare-only", "--record", str(record)]) == 0
    assert capsys.readouterr().out == printed
    written = json.loads(record.read_text())
    assert [arm["settings"]["layout"] for arm in written["arms"]] == ["repository", "after-suffix"]
    assert {arm["model"]["sha256"] for arm in written["arms"]} == {FakeLanguageModel().identity.sha256}
    assert [arm["engines"] for arm in written["arms"]] == [[FakeLanguageModel().description]] * 2
    assert [arm["settings"]["prefix_tokens"] for arm in written["arms"]] == [256, 256]
    assert len(written["pairs"]) == 1
    assert main([*choose, "--arms", "no-such-setting=1"]) == 2
    capsys.readouterr()
    for twice in ("default,default", "default,layout=auto"):
        assert main([*choose, "--arms", twice]) == 2
        assert "are the same" in capsys.readouterr().err
    (out / "num_candidates=2").rename(out / "num_candidates=3")
    assert main([*choose, "--compare-only", "--arms", "num_candidates=3"]) == 2
    assert "num_candidates 2, now 3" in capsys.readouterr().err


def test_labels_have_their_own_budgets_and_other_ones_go_on_if_they_are_given(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--levels", "line=1", "--per-repo", "1", "--k", "3", "--model", "fake"]
    build = ["dataset", "build", *repos(labels), *few, "--out"]
    assert main([*build, str(tmp_path / "frozen")]) == 0
    recipe = json.loads((tmp_path / "frozen" / "dataset.json").read_text())["recipe"]
    assert (recipe["prefix_tokens"], recipe["suffix_tokens"]) == (256, 64)
    long = ["--prefix-tokens", "1024", "--suffix-tokens", "512"]
    assert main([*build, str(tmp_path / "long"), *long]) == 0
    capsys.readouterr()
    assert main([*build, str(tmp_path / "long")]) == 2
    assert "prefix_tokens 1024, now 256; suffix_tokens 512, now 64" in capsys.readouterr().err
    assert main([*build, str(tmp_path / "long"), *long]) == 0


def test_another_engine_is_told_once_and_all_stand_on_the_card(
    labels: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    again = ["dataset", "build", *repos(labels), "--out", str(labels), "--levels", "line,chunk", *SMALL]
    assert main([*again, "--per-repo", "6"]) == 0
    assert "warning" not in capsys.readouterr().err
    made = FakeLanguageModel.__init__

    def other_engine(model: FakeLanguageModel, *arguments: object, **more: object) -> None:
        made(model, *arguments, **more)  # type: ignore[arg-type]
        model.description = "abacus"

    monkeypatch.setattr(FakeLanguageModel, "__init__", other_engine)
    assert main([*again, "--per-repo", "12"]) == 0
    assert capsys.readouterr().err.count("warning: ") == 1
    assert main(["dataset", "stats", str(labels)]) == 0
    assert "engine abacus; no weights" in (labels / "README.md").read_text()

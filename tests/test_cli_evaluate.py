"""`codefilter evaluate` from outside: benchmarks, a repository of one's own, resuming, exit codes."""

import json
import re
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from codefilter import evaluation
from codefilter.cli import main
from codefilter.evaluation.records import read_plan
from codefilter.evaluation.storage import MISMATCHES_FILE, RESULTS_FILE, read_results
from codefilter.paths import exclusive
from tests.released_data import (
    REPOSITORY,
    crosscode_record,
    line_records,
    task_file,
    with_fragments,
    write_crosscodeeval,
    write_jsonl,
    write_repoeval,
)

MODEL = ["--model", "fake"]


def evaluate(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments), *MODEL])


def test_a_benchmark_runs_and_leaves_everything_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    data, out = write_repoeval(tmp_path / "data"), tmp_path / "run"
    assert evaluate("repoeval", "--data", data, "--arms", "none,all,random:1", "--out", out) == 0
    shown = capsys.readouterr().out
    assert "random:1" in shown
    assert "has probably been trained" in shown  # said beside RepoEval's figures
    record = json.loads((out / "record.json").read_text())
    assert (record["tasks"], len(record["arms"]), len(record["results"])) == (5, 3, 15)
    assert record["data_sha256"] == read_plan(out).data_sha256
    for result in record["results"]:
        assert not {"prediction", "target", "chunks"} & set(result)  # other people's code stays out
    assert len((out / "predictions" / "none.jsonl").read_text().splitlines()) == 5
    arguments = ["--family", "repocoder", "--benchmark", "repoeval", "--data", str(data)]
    assert main(["score", str(out / "predictions" / "all.jsonl"), *arguments]) == 0
    assert "not the released metric" in capsys.readouterr().err


def test_a_record_alone_compares_as_the_folder_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_repoeval(tmp_path / "data"), tmp_path / "run"
    assert evaluate("repoeval", "--data", data, "--arms", "none,all", "--out", out) == 0
    record = (out / "record.json").rename(tmp_path / "kept.json")
    capsys.readouterr()
    for run in (out, record):
        assert main(["compare", str(run), "--baseline", "all", "--json"]) == 0
    of_folder, of_record = capsys.readouterr().out.split("]\n[")
    assert of_folder.lstrip("[") == of_record.rstrip("]\n") + "\n"
    for path, said in ((out / RESULTS_FILE, "nor its record"), (tmp_path / "none", "No such file")):
        assert main(["compare", str(path)]) == 2
        assert said in capsys.readouterr().err


def test_the_table_tells_how_many_completions_have_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # with lines in the hole one of the fake model's completions has no text
    arguments = ("repoeval", "--data", write_repoeval(tmp_path / "data"), "--arms", "none/hole_lines=0")
    assert evaluate(*arguments, "--out", tmp_path / "run") == 0
    assert "empty" not in capsys.readouterr().out
    file = tmp_path / "run" / RESULTS_FILE
    first, *others = [json.loads(line) for line in file.read_text().splitlines()]
    write_jsonl(file, [first | {"prediction": "\n"}, *others])
    assert evaluate(*arguments, "--out", tmp_path / "run") == 0
    shown = capsys.readouterr().out
    assert "empty" in shown
    assert "20 %" in shown


def test_shards_and_a_limit_are_parts_of_the_same_run(tmp_path: Path) -> None:
    data = write_repoeval(tmp_path / "data")
    for number in (1, 2):
        assert evaluate("repoeval", "--data", data, "--shard", f"{number}/2", "--out", tmp_path / "run") == 0
    assert len(list(read_results(tmp_path / "run"))) == 15
    assert evaluate("repoeval", "--data", data, "--limit", "2", "--out", tmp_path / "few") == 0
    assert len({result.task_id for result in read_results(tmp_path / "few")}) == 2


def test_only_tasks_of_some_repositories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_repoeval(tmp_path / "data")
    arguments = ("repoeval", "--data", data, "--out", tmp_path / "run", "--arms", "none", "--repositories")
    assert evaluate(*arguments, "nobody") == 2
    assert REPOSITORY in capsys.readouterr().err
    assert evaluate(*arguments, REPOSITORY) == 0
    assert {result.repository for result in read_results(tmp_path / "run")} == {REPOSITORY}


def test_arms_and_shards_are_added_to_what_a_folder_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_repoeval(tmp_path / "data"), tmp_path / "run"
    arguments = ["repoeval", "--data", data, "--out", out, "--arms"]
    assert evaluate(*arguments, "none,all", "--shard", "1/2") == 0
    assert evaluate(*arguments, "none,all", "--shard", "2/2") == 0
    capsys.readouterr()
    assert evaluate(*arguments, "oracle", "--limit", "2") == 0
    assert re.search(r"none +5 ", capsys.readouterr().out)
    assert read_plan(out).arms == ("none", "all", "oracle")
    record = json.loads((out / "record.json").read_text())
    assert (record["tasks"], record["shard"], record["limit"]) == (5, "1/2,2/2,1/1", None)
    assert [(arm["arm"], arm["tasks"]) for arm in record["arms"]] == [("none", 5), ("all", 5), ("oracle", 2)]
    assert {one["baseline"] for one in record["comparisons"]} == {"none"}
    assert len((out / "predictions" / "all.jsonl").read_text().splitlines()) == 5
    assert evaluate(*arguments, "all", "--levels", "line", "--limit", "1") == 0
    assert len((out / "predictions" / "all.jsonl").read_text().splitlines()) == 5  # of other levels too


def test_without_repositories_it_is_said_that_nothing_can_be_retrieved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_crosscodeeval(tmp_path / "data"), tmp_path / "run"
    assert evaluate("crosscodeeval", "--data", data, "--arms", "none,all", "--out", out) == 0
    said = "nothing can be retrieved, every arm is `none`"
    assert said in capsys.readouterr().out
    for name in ("run.json", "record.json"):
        assert any(said in notice for notice in json.loads((out / name).read_text())["notices"])
    assert main(["compare", str(out)]) == 0
    assert said in capsys.readouterr().out
    with_them = write_crosscodeeval(tmp_path / "whole", with_repositories=True)
    assert evaluate("crosscodeeval", "--data", with_them, "--arms", "none", "--out", tmp_path / "run2") == 0
    assert said not in capsys.readouterr().out


def test_without_repositories_what_the_records_show_is_retrieved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = with_fragments(
        crosscode_record("python"),
        till="def scan(article, amount):\n    total = article['price'] * amount\n    return total\n",
        shop="def open_shop(articles):\n    return [article['price'] for article in articles]\n",
    )
    other = crosscode_record("python", number=1)  # shows nothing, and must not be given the first one's
    secret = crosscode_record("python", number=2)
    shown_secret = [{"retrieved_chunk": "KEY=1\ud800", "filename": "acme/.env", "score": 1.0}]
    secret["crossfile_context"]["list"] = shown_secret
    write_jsonl(tmp_path / "data" / "python" / "line_completion_rg1_bm25.jsonl", [record, other, secret])
    arguments = ("crosscodeeval", "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert evaluate(*arguments, "--arms", "none,all,classifier") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "what the records show of other files is all that is retrieved from" in shown
    results = {(result.task_id[-6:], result.arm): result for result in read_results(tmp_path / "run")}
    assert {chunk.path for chunk in results["0/line", "all"].chunks} == {"acme/till.py", "acme/shop.py"}
    assert results["0/line", "all"].cross_file_tokens > 0
    assert {chunk.polarity for chunk in results["0/line", "classifier"].chunks} != {"unknown"}
    assert not results["1/line", "all"].chunks
    assert not results["2/line", "all"].chunks


def test_fragments_that_cannot_be_laid_out_fail_their_task_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = crosscode_record("python")
    torn["crossfile_context"] = {
        "text": "",
        "list": [{"retrieved_chunk": "x = 1", "filename": name, "score": 1.0} for name in ("b", "b/c.py")],
    }
    good = with_fragments(crosscode_record("python", number=1), shop="def open_shop():\n    return 1\n")
    write_jsonl(tmp_path / "data" / "python" / "line_completion_rg1_bm25.jsonl", [torn, good])
    arguments = ("crosscodeeval", "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert evaluate(*arguments, "--arms", "all") == 1
    assert "cannot be laid out beside the others" in capsys.readouterr().err
    assert [result.task_id[-6:] for result in read_results(tmp_path / "run")] == ["1/line"]


def test_another_run_in_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_repoeval(tmp_path / "data"), tmp_path / "run"
    assert evaluate("repoeval", "--data", data, "--limit", "1", "--out", out) == 0
    assert evaluate("repoeval", "--data", data, "--out", out, "--likelihood-only") == 2
    assert "writing differ" in capsys.readouterr().err
    assert evaluate("repoeval", "--data", data, "--out", out, "--family", "repoformer") == 2
    assert "metric family differ" in capsys.readouterr().err
    assert evaluate("repoeval", "--data", data, "--out", tmp_path / "new", "--family", "ours") == 2
    assert "One of: repocoder, repoformer, crosscodeeval" in capsys.readouterr().err
    assert evaluate("repoeval", "--data", data, "--out", out, "--no-resume") == 2
    assert "not empty" in capsys.readouterr().err


def test_a_second_run_in_the_same_folder_waits_for_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = write_repoeval(tmp_path / "data"), tmp_path / "run"
    complete = evaluation.evaluate
    seconds: list[Thread] = []
    said: list[str] = []

    def with_a_second(*arguments: Any, **options: Any) -> evaluation.Outcome:
        """Run, and the first time begin another run before."""
        if not seconds:
            seconds.append(Thread(target=evaluate, args=("repoeval", "--data", data, "--out", out)))
            seconds[0].start()
            while "waiting for another run in" not in "".join(said):
                said.append(capsys.readouterr().err)
                assert seconds[0].is_alive()
                time.sleep(0.05)
        return complete(*arguments, **options)

    monkeypatch.setattr(evaluation, "evaluate", with_a_second)
    assert evaluate("repoeval", "--data", data, "--out", out) == 0
    seconds[0].join(timeout=60)
    assert len((out / RESULTS_FILE).read_text().splitlines()) == 15  # nothing twice


def test_a_run_that_had_to_wait_has_all_its_minutes(
    tmp_path: Path,
) -> None:
    data, out = write_repoeval(tmp_path / "data"), tmp_path / "run"
    with exclusive(".run", folder=out):
        second = Thread(target=evaluate, args=("repoeval", "--data", data, "--out", out, "--minutes", "0.02"))
        second.start()
        time.sleep(1.5)
        assert second.is_alive()
    second.join(timeout=60)
    assert len((out / RESULTS_FILE).read_text().splitlines()) == 15


def test_a_run_needs_no_other_place_to_write_than_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_repoeval(tmp_path / "data")
    nowhere = tmp_path / "a-file"
    nowhere.write_text("")
    monkeypatch.setenv("CODEFILTER_CACHE", str(nowhere / "cache"))
    assert evaluate("repoeval", "--data", data, "--out", tmp_path / "run", "--no-resume") == 0


def test_records_that_do_not_verify_are_named_and_the_exit_code_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_repoeval(tmp_path / "data")
    missing = {**line_records()[0], "metadata": {**line_records()[0]["metadata"], "line_no": 3}}
    write_jsonl(task_file(data, "line"), [missing, line_records()[1], "no json"])
    assert evaluate("repoeval", "--data", data, "--levels", "line", "--out", tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert "the target does not stand where it should" in said
    assert "not a line of JSON" in said
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert (record["tasks"], record["mismatches"]) == (1, 2)
    kept = [json.loads(line) for line in (tmp_path / "run" / MISMATCHES_FILE).read_text().splitlines()]
    assert [(mismatch["line"], mismatch["level"]) for mismatch in kept] == [(0, "line"), (2, "line")]
    arguments = ["repoeval", "--data", data, "--levels", "api", "--out", tmp_path / "run"]
    assert evaluate(*arguments) == 0  # those of other levels are nothing to it
    assert "did not verify" not in capsys.readouterr().err


def write_own_repository(root: Path) -> Path:
    """Six modules, each with calls of another."""
    root.mkdir()
    for number in range(6):
        other = (number + 1) % 6
        body = [f"from part{other} import Part{other}", "", "", f"class Part{number}:"]
        body += [
            f"    def step_{n}(self, value):\n        return Part{other}().step_{n}(value + {n})"
            for n in range(12)
        ]
        (root / f"part{number}.py").write_text("\n".join(body) + "\n")
    return root


def test_a_repository_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_own_repository(tmp_path / "mine")
    arguments = ["--per-repo", "3", "--out", tmp_path / "run"]
    assert evaluate("--repo", root, *arguments) == 0
    shown = capsys.readouterr().out
    assert "Is the repository used? In 6 of 6 places all put text of other files" in shown
    assert "Does it help?" in shown
    results = list(read_results(tmp_path / "run"))
    assert len({result.task_id for result in results}) == 6
    assert {result.level for result in results} == {"line", "api"}
    assert evaluate("--repo", tmp_path / "gone", *arguments) == 2
    assert "no folder" in capsys.readouterr().err


def test_a_repository_is_evaluated_in_several_ways_without_naming_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEFILTER_CACHE", str(tmp_path / "cache"))
    arguments = ["--repo", write_own_repository(tmp_path / "mine"), "--per-repo", "1", "--arms", "none,all"]
    assert evaluate(*arguments) == 0
    assert evaluate(*arguments, "--likelihood-only") == 0  # which a folder with predictions refuses
    assert len(list((tmp_path / "cache" / "evaluations").iterdir())) == 2
    capsys.readouterr()
    assert evaluate(*arguments) == 0
    assert "4/4" in capsys.readouterr().err  # all are there: the bar begins where the run stopped
    assert evaluate(*arguments, "--no-resume") == 2
    assert "not empty" in capsys.readouterr().err


def test_an_unfit_repository_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.py").write_text("x = 1\n")
    assert evaluate("--repo", tmp_path, "--out", tmp_path / "run") == 1
    assert "only 1 source files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["magic"], "no benchmark 'magic'"),
        (["fresh", "--levels", "page"], "unknown level"),
        (["fresh", "--arms", "best"], "unknown filter"),
        (["fresh", "--shard", "3/2"], "is no shard"),
        (["fresh", "--executor", "cloud"], "unknown executor"),
        (["fresh", "--workers", "2"], "the executor local has no workers"),
        (["fresh", "--repo", "."], "name a benchmark, or a repository"),
        ([], "name a benchmark, or a repository"),
        (["fresh", "--per-repo", "3"], "--per-repo is of train and --repo only"),
        (["--repo", ".", "--data", "."], "--data is of benchmarks only"),
        (["train", "--data", "."], "--data is of benchmarks only"),
    ],
)
def test_wrong_use_is_named(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*arguments, "--out", tmp_path / "run") == 2
    assert message in capsys.readouterr().err


def test_without_ray_it_is_said_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    data, out = write_repoeval(tmp_path / "data"), tmp_path / "run"
    assert evaluate("repoeval", "--data", data, "--out", out, "--executor", "ray") == 2
    assert "codefilter[ray]" in capsys.readouterr().err
    assert not out.exists()


def test_without_its_packages_fresh_names_the_command_that_fetches_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("fresh", "--out", tmp_path / "run") == 1
    assert "codefilter benchmark prepare fresh" in capsys.readouterr().err

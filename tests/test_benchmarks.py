"""RepoEval and CrossCodeEval in their released layout, whole and damaged; `benchmark` and `score` on them."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from codefilter.benchmarks import MismatchReason, get_benchmark, repoeval
from codefilter.benchmarks.predictions import References, read_predictions
from codefilter.cli import benchmark as benchmark_cli
from codefilter.cli.score import score_command
from codefilter.errors import DownloadError, IntegrityError, SourceError, UsageError
from codefilter.evaluation.exporting import released_record
from codefilter.packages import PackagePin, silent
from codefilter.types import TaskLevel
from tests.released_data import (
    FILES,
    REPOSITORY,
    STORE,
    api_records,
    crosscode_record,
    function_records,
    line_records,
    repoeval_record,
    task_file,
    with_fragments,
    write_crosscodeeval,
    write_crosscodelongeval,
    write_files,
    write_jsonl,
    write_repoeval,
)

REAL_REPOEVAL = Path(
    os.environ.get("CODEFILTER_REPOEVAL") or Path(__file__).parents[2] / "shared" / "data" / "repoeval"
)
REAL_REPOSITORIES = {
    "lucidrains_imagen-pytorch": 67,
    "google_lightweight_mmm": 54,
    "maxhumber_redframes": 42,
}

app = typer.Typer()
app.add_typer(benchmark_cli.app, name="benchmark")
app.command("score")(score_command)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    return write_repoeval(tmp_path / "RepoCoder")


def repository(released: Path) -> Path:
    return released / "repositories" / "line_and_api_level" / REPOSITORY


def with_line_record(released: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Damage the first line task."""
    records = line_records()
    change(records[0])
    write_jsonl(task_file(released, "line"), records)


def test_repoeval_tasks_stand_in_their_whole_files(released: Path) -> None:
    loaded = get_benchmark("repoeval").load(released)
    assert not loaded.mismatches
    assert [task.task_id for task in loaded.tasks] == [
        "owner_shop/0/line",
        "owner_shop/1/line",
        "owner_shop/0/api",
        "owner_shop/0/function",
        "owner_shop/1/function",
    ]
    for task in loaded.tasks:
        text = FILES[task.request.path]
        assert task.request.prefix + task.target + task.request.suffix == text
        rows = text.split("\n")[task.provenance.start_line : task.provenance.end_line]
        assert "\n".join(rows) == task.target
        assert task.request.language == "python"
    assert loaded.tasks[0].target == '        total = article["price"] * amount'
    assert loaded.tasks[2].target.count("\n") == 3
    assert loaded.tasks[3].target.startswith("        with open(self.path)")
    assert loaded.repositories[0].root == repository(released)


def test_the_same_tasks_in_several_variants_count_once(released: Path) -> None:
    write_jsonl(task_file(released, "line", "1k_context_codegen"), ["not even read"])
    loaded = get_benchmark("repoeval").load(released)
    assert not loaded.mismatches
    assert [file.path.name for file in loaded.files if file.level is TaskLevel.LINE] == [
        "line_level_completion_2k_context_codex.test.jsonl"
    ]


def test_an_empty_last_line_of_a_prompt_may_be_lost(released: Path) -> None:
    record = repoeval_record(STORE, "acme/store.py", (23, 24))
    record["prompt"] = record["prompt"].removesuffix("\n")  # as "\\n".join(text.splitlines()) does
    write_jsonl(task_file(released, "line"), [record])
    assert not get_benchmark("repoeval").load(released).mismatches


def test_lines_are_counted_as_the_released_scripts_count_them(released: Path) -> None:
    """A form feed ends a line for Python, not for an editor."""
    text = STORE.replace("\n\n\nclass", "\n\x0c\n\nclass")
    assert len(text.splitlines()) == text.count("\n") + 1  # though the text ends in a line feed
    write_files(repository(released), {"acme/store.py": text})
    start = text.splitlines().index('        total = article["price"] * amount')
    write_jsonl(task_file(released, "line"), [repoeval_record(text, "acme/store.py", (start, start + 1))])
    write_jsonl(task_file(released, "function"), [])
    loaded = get_benchmark("repoeval").load(released)
    assert not loaded.mismatches
    task = loaded.tasks[0]
    assert task.request.prefix + task.target + task.request.suffix == text
    assert task.target == '        total = article["price"] * amount'


def move_target(record: dict[str, Any]) -> None:
    record["metadata"]["line_no"] += 1
    record["prompt"] += "\n" + record["metadata"]["ground_truth"]


def change_prompt(record: dict[str, Any]) -> None:
    record["prompt"] = record["prompt"].replace("self.articles = {}", "self.articles = dict()")


def shorten_prompt(record: dict[str, Any]) -> None:
    record["prompt"] = record["prompt"].split("\n", 3)[3]


def lose_repository(record: dict[str, Any]) -> None:
    record["metadata"]["fpath_tuple"][0] = "owner_gone"


def lose_file(record: dict[str, Any]) -> None:
    record["metadata"]["fpath_tuple"][-1] = "gone.py"


def leave_repository(record: dict[str, Any]) -> None:
    record["metadata"]["fpath_tuple"][1:] = ["..", "..", "secret.py"]


def lose_field(record: dict[str, Any]) -> None:
    del record["metadata"]["ground_truth"]


def turn_number_to_text(record: dict[str, Any]) -> None:
    record["metadata"]["line_no"] = "21"


def place_behind_the_end(record: dict[str, Any]) -> None:
    record["metadata"]["line_no"] = 5000


def empty_target(record: dict[str, Any]) -> None:
    record["metadata"]["ground_truth"] = ""


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (move_target, MismatchReason.TARGET_ELSEWHERE, "it stands at line 22"),
        (change_prompt, MismatchReason.CONTEXT_DIFFERS, "line 11 of acme/store.py"),
        (shorten_prompt, MismatchReason.CONTEXT_DIFFERS, "the prompt has 18 lines, the file 21"),
        (lose_repository, MismatchReason.NO_REPOSITORY, "owner_gone"),
        (lose_file, MismatchReason.NO_FILE, "acme/gone.py"),
        (leave_repository, MismatchReason.WRONG_FORM, "no path below"),
        (lose_field, MismatchReason.WRONG_FORM, "ground_truth is missing"),
        (turn_number_to_text, MismatchReason.WRONG_FORM, "line_no is text"),
        (place_behind_the_end, MismatchReason.TARGET_ELSEWHERE, "behind the end"),
        (empty_target, MismatchReason.TARGET_ELSEWHERE, "line 22"),
    ],
)
def test_a_record_that_does_not_verify_is_named_and_the_others_run(
    released: Path, change: Callable[[dict[str, Any]], None], reason: MismatchReason, words: str
) -> None:
    with_line_record(released, change)
    loaded = get_benchmark("repoeval").load(released)
    assert [mismatch.reason for mismatch in loaded.mismatches] == [reason]
    assert words in str(loaded.mismatches[0])
    assert str(loaded.mismatches[0]).startswith("line_level_completion_2k_context_codex.test.jsonl:1")
    assert len(loaded.tasks) == 4


def test_broken_lines_and_records_of_another_benchmark_are_named(released: Path) -> None:
    good = line_records()
    write_jsonl(
        task_file(released, "line"),
        [
            good[0],
            '{"prompt": "cut of',
            "[1, 2]",
            crosscode_record("python"),
            "",
            good[1],
            good[0],
            "[" * 5000,
            f'{{"prompt": {"9" * 5000}}}',
        ],
    )
    loaded = get_benchmark("repoeval").load(released)
    assert [(m.line + 1, m.reason) for m in loaded.mismatches] == [
        (2, MismatchReason.NOT_JSON),
        (3, MismatchReason.WRONG_FORM),
        (4, MismatchReason.WRONG_FORM),
        (7, MismatchReason.DUPLICATE),
        (8, MismatchReason.NOT_JSON),
        (9, MismatchReason.NOT_JSON),
    ]
    assert len(loaded.tasks) == 5


def test_numbered_tests_and_copies_with_answers_are_excluded(released: Path) -> None:
    root = repository(released)
    body = "\n".join(STORE.split("\n")[14:17])
    write_files(
        root,
        {
            "tests/test014.py": f"from acme import *\n\ndef test():\n{body}\n",
            "tests/test015.py": "def test_nothing():\n    assert True\n",  # numbered, but no answer in it
            "old/backup.py": STORE + "\n# a copy\n",
            "acme/again.py": f"class Other:\n    def load(self):\n{body}\n",  # repeats, as code does
        },
    )
    loaded = get_benchmark("repoeval").load(released)
    [found] = loaded.repositories
    assert found.excluded_paths == ("old/backup.py", "tests/test014.py")
    assert found.repeated_task_ids == ("owner_shop/0/function",)
    assert len(loaded.tasks) == 5


def test_a_file_that_no_index_has_has_no_copies(released: Path) -> None:
    body = "\n".join(STORE.split("\n")[14:17])
    again = {"acme/again.py": f"class Other:\n    def load(self):\n{body}\n"}
    write_files(repository(released), {".gitignore": "acme/store.py\n", **again})
    [found] = get_benchmark("repoeval").load(released).repositories
    assert found.excluded_paths == ()
    assert found.repeated_task_ids == ("owner_shop/0/function",)


def test_the_repository_without_answers_excludes_nothing(released: Path) -> None:
    [found] = get_benchmark("repoeval").load(released).repositories
    assert found.excluded_paths == ()
    assert found.repeated_task_ids == ()


def test_short_targets_elsewhere_are_no_answers_without_their_neighbours(released: Path) -> None:
    write_files(repository(released), {"tests/test1.py": "def test():\n    store.load()\n    assert store\n"})
    [found] = get_benchmark("repoeval").load(released).repositories
    assert found.excluded_paths == ()


def test_the_data_hash_changes_with_the_task_files(released: Path) -> None:
    before = get_benchmark("repoeval").load(released)
    write_files(repository(released), {"acme/unused.py": "x = 1\n"})
    assert get_benchmark("repoeval").load(released).data_sha256 == before.data_sha256
    write_jsonl(task_file(released, "line"), line_records()[:1])
    assert get_benchmark("repoeval").load(released).data_sha256 != before.data_sha256
    assert any("is not the file known here" in notice for notice in before.notices)


def test_the_hash_of_a_repository_changes_with_the_files_that_an_index_may_have(released: Path) -> None:
    def content_sha256() -> str:
        [found] = get_benchmark("repoeval").load(released).repositories
        return found.content_sha256

    before = content_sha256()
    write_files(repository(released), {"old/backup.py": STORE + "\n# a copy, which is excluded\n"})
    assert content_sha256() == before
    write_files(repository(released), {"acme/unused.py": "x = 1\n"})
    assert content_sha256() != before


def test_the_variable_names_the_folder(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEFILTER_REPOEVAL", str(released))
    assert len(get_benchmark("repoeval").load().tasks) == 5
    monkeypatch.setenv("CODEFILTER_REPOEVAL", str(released / "gone"))
    with pytest.raises(UsageError, match="no folder"):
        get_benchmark("repoeval").load()


def test_prepare_builds_the_released_layout_and_puts_lines_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    write_files(package, {**FILES, "acme/store.py": STORE.replace("round(total, 2)", "round(total, 3)")})
    line = STORE.split("\n").index("        return round(total, 2)")
    repair = repoeval.LineRepair(
        "acme/store.py", line + 1, "        return round(total, 3)", "        return round(total, 2)"
    )
    origins = (
        repoeval.RepositoryOrigin(REPOSITORY, "", "line", "imagen-pytorch", (repair,)),
        repoeval.RepositoryOrigin("owner_elsewhere", "", "line"),
    )
    monkeypatch.setattr(repoeval, "load_origins", lambda: origins)

    def fetch(pin: PackagePin, progress: object) -> Path:
        return package

    monkeypatch.setattr(repoeval, "fetch_package", fetch)
    data = tmp_path / "data"
    for level, records in (("line", line_records()), ("function", function_records())):
        write_jsonl(task_file(data, level), records)
    source = get_benchmark("repoeval")
    assert {m.reason for m in source.load(data).mismatches} == {MismatchReason.NO_REPOSITORY}
    assert "prepare repoeval" in " ".join(source.availability(data).missing)

    assert source.prepare(silent) == ("owner_shop from imagen-pytorch 1.22.2, 1 lines put back",)
    assert not source.load(data).mismatches
    assert source.availability(data).repositories_here == (REPOSITORY,)

    write_files(package, {"acme/store.py": STORE.replace("round(total, 2)", "round(total, 4)")})
    with pytest.raises(IntegrityError, match=r"line 24 of acme/store.py"):
        source.prepare(silent)
    assert not source.load(data).mismatches  # what was there stays


def test_crosscodeeval_without_repositories_is_checked_against_itself(tmp_path: Path) -> None:
    loaded = get_benchmark("crosscodeeval").load(write_crosscodeeval(tmp_path))
    assert not loaded.mismatches
    assert Counter(task.request.language for task in loaded.tasks) == dict.fromkeys(
        ("python", "java", "typescript", "csharp"), 1
    )
    assert all(repository.root is None for repository in loaded.repositories)
    assert "only checked against themselves" in loaded.notices[0]
    python = next(task for task in loaded.tasks if task.request.language == "python")
    assert python.request.prefix.endswith("        total = ")
    assert python.target == 'article["price"] * amount'
    assert python.request.suffix.startswith("\n\n        return")


def test_crosscodeeval_without_repositories_has_the_fragments_of_its_records(tmp_path: Path) -> None:
    folder = write_crosscodeeval(tmp_path)
    record = with_fragments(crosscode_record("python"), till="def scan():\n", store="the task's own file")
    record["crossfile_context"]["list"] += [
        {"retrieved_chunk": text, "filename": "acme/till.py", "score": 1.0}
        for text in ("\n    return 1\n\n", "def scan():\n")
    ]
    plain = crosscode_record("python") | {"crossfile_context": None}
    write_jsonl(folder / "python" / "line_completion_rg1_bm25.jsonl", [record])
    write_jsonl(folder / "python" / "line_completion_rg1_unixcoder_cosine_sim.jsonl", [plain])
    loaded = get_benchmark("crosscodeeval").load(folder)
    assert not loaded.mismatches
    python = next(task for task in loaded.tasks if task.request.language == "python")
    assert [(file.path, file.text) for file in python.other_files] == [
        ("acme/till.py", "def scan():\n\n    return 1\n")
    ]
    broken = with_fragments(crosscode_record("python"), **{"../../secret": "x"})
    write_jsonl(folder / "python" / "line_completion_rg1_bm25.jsonl", [broken])
    (mismatch,) = get_benchmark("crosscodeeval").load(folder).mismatches
    assert mismatch.reason is MismatchReason.WRONG_FORM
    assert "no path below a repository" in mismatch.detail


def test_crosscodeeval_with_repositories_has_whole_files(tmp_path: Path) -> None:
    loaded = get_benchmark("crosscodeeval").load(write_crosscodeeval(tmp_path, with_repositories=True))
    assert not loaded.mismatches
    assert not loaded.notices
    python = next(task for task in loaded.tasks if task.request.language == "python")
    assert python.request.prefix + python.target + python.request.suffix == STORE
    assert python.provenance.start_line == 21


def test_crosscodeeval_line_numbers_may_count_from_one(tmp_path: Path) -> None:
    folder = write_crosscodeeval(tmp_path, with_repositories=True)
    record = crosscode_record("python", prompt_lines=1)
    for name in ("context_start_lineno", "groundtruth_start_lineno", "right_context_start_lineno"):
        record["metadata"][name] += 1
    write_jsonl(folder / "python" / "line_completion.jsonl", [record])
    assert not get_benchmark("crosscodeeval").load(folder).mismatches


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("prompt", "def other():\n    x = ", MismatchReason.CONTEXT_DIFFERS),
        ("groundtruth", "article.price", MismatchReason.TARGET_ELSEWHERE),
        ("right_context", "\nsomething else", MismatchReason.CONTEXT_DIFFERS),
        ("groundtruth_start_lineno", 3, MismatchReason.TARGET_ELSEWHERE),
        ("context_start_lineno", 400, MismatchReason.CONTEXT_DIFFERS),
        ("repository", "owner-gone-000000", MismatchReason.NO_REPOSITORY),
        ("file", "acme/gone.py", MismatchReason.NO_FILE),
        ("repository", None, MismatchReason.WRONG_FORM),
        ("repository", "o" * 256, MismatchReason.WRONG_FORM),
        ("file", "acme/\0.py", MismatchReason.WRONG_FORM),
        ("file", "acme/\ud800.py", MismatchReason.WRONG_FORM),
    ],
)
def test_crosscodeeval_mismatches_are_named(
    tmp_path: Path, field: str, value: object, reason: MismatchReason
) -> None:
    folder = write_crosscodeeval(tmp_path, with_repositories=True)
    record = crosscode_record("python", prompt_lines=1)
    (record if field in record else record["metadata"])[field] = value
    write_jsonl(folder / "python" / "line_completion.jsonl", [record, *api_records()])
    loaded = get_benchmark("crosscodeeval").load(folder)
    assert [m.reason for m in loaded.mismatches] == [reason, MismatchReason.WRONG_FORM]
    assert len(loaded.tasks) == 3


def test_crosscodelongeval_keeps_levels_apart(tmp_path: Path) -> None:
    loaded = get_benchmark("crosscodelongeval").load(write_crosscodelongeval(tmp_path))
    assert [(task.task_id, task.level) for task in loaded.tasks] == [
        ("project_cc_python/0/chunk", TaskLevel.CHUNK),
        ("project_cc_python/0/function", TaskLevel.FUNCTION),
    ]


def test_verify_prints_counts_and_ends_with_1_for_a_mismatch(released: Path) -> None:
    result = CliRunner().invoke(app, ["benchmark", "verify", "repoeval", "--data", str(released)])
    assert result.exit_code == 0
    assert "5 tasks verified, 0 records did not verify" in result.stdout
    with_line_record(released, move_target)
    result = CliRunner().invoke(app, ["benchmark", "verify", "repoeval", "--data", str(released), "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["num_tasks"] == 4
    assert {"level": "line", "repository": REPOSITORY, "tasks": 1} in report["tasks"]
    assert report["mismatches"][0]["line"] == 1
    assert report["mismatches"][0]["reason"] == MismatchReason.TARGET_ELSEWHERE
    assert report["files"][0]["records"] == 2


def test_verify_says_where_missing_repositories_come_from(tmp_path: Path) -> None:
    write_jsonl(task_file(tmp_path, "line"), line_records())
    result = CliRunner().invoke(app, ["benchmark", "verify", "repoeval", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "prepare repoeval" in result.stdout


def test_list_says_what_is_here(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEFILTER_REPOEVAL", str(released))
    listed = json.loads(CliRunner().invoke(app, ["benchmark", "list", "--json"]).stdout)
    by_name = {row["name"]: row for row in listed}
    assert len(by_name["repoeval"]["task_files"]) == 3
    assert by_name["crosscodeeval"]["task_files"] == []
    assert "github.com" in by_name["crosscodeeval"]["missing"][0]


def repocoder_lines(records: list[dict[str, Any]], texts: list[str]) -> list[dict[str, Any]]:
    """Predictions as RepoCoder's scripts write them."""
    return [{**r, "choices": [{"text": text}]} for r, text in zip(records, texts, strict=True)]


def run_score(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["score", *arguments, "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_score_reads_repocoder_predictions(tmp_path: Path) -> None:
    truth = function_records()[0]["metadata"]["ground_truth"]
    file = tmp_path / "predictions.jsonl"
    write_jsonl(file, repocoder_lines(function_records(), [f"\n{truth}\n    def next(self):", "kitten"]))
    code, report = run_score(str(file), "--family", "repocoder")
    assert code == 0
    assert report["levels"]["function"]["num_predictions"] == 2
    assert report["levels"]["function"]["exact_match"] == 50.0
    code, report = run_score(str(file), "--family", "repoformer")
    assert report["levels"]["function"]["exact_match"] == 50.0


def test_score_takes_truths_from_the_benchmark(released: Path, tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    write_jsonl(
        file,
        [
            {"task_id": "owner_shop/0/line", "pred": '        total = article["price"] * amount'},
            {"task_id": "owner_shop/1", "pred": "    store.save()"},
            {"task_id": "owner_shop/0", "pred": "which level?"},
            {"task_id": "owner_shop/77", "pred": "no such task"},
        ],
    )
    arguments = ["--family", "repocoder", "--benchmark", "repoeval", "--data", str(released)]
    code, report = run_score(str(file), *arguments)
    assert code == 1
    assert [m["line"] for m in report["malformed"]] == [2, 3, 4]  # line 2 is a function's id too
    code, report = run_score(str(file), *arguments, "--level", "line")
    assert [m["line"] for m in report["malformed"]] == [3, 4]  # line 3 is the first task again
    assert report["levels"]["line"] == {
        "num_predictions": 2,
        "exact_match": 50.0,
        "edit_similarity": 83.33,  # (100 + 100 · (1 − 4/12)) / 2: load → save is 4 of 12 characters
        "levenshtein_similarity": 83.33,
        "identifier_exact_match": 50.0,
        "identifier_f1": 75.0,  # {store, save} against {store, load}: 1 of 2
    }
    assert report["num_missing"] == 0


def test_score_finds_the_released_line_where_the_file_has_other_line_ends_too(
    released: Path, tmp_path: Path
) -> None:
    path = repository(released) / "acme" / "store.py"
    path.write_text("\f\n" + path.read_text())  # two lines for `splitlines`, one for everybody else
    record = repoeval_record(path.read_text(), "acme/store.py", (23, 24))
    write_jsonl(task_file(released, "line"), [record])
    file = tmp_path / "predictions.jsonl"
    write_jsonl(file, [record | {"choices": [{"text": record["metadata"]["ground_truth"]}]}])
    code, report = run_score(
        str(file),
        "--family",
        "repocoder",
        "--benchmark",
        "repoeval",
        "--data",
        str(released),
        "--level",
        "line",
    )
    assert (code, report["levels"]["line"]["exact_match"]) == (0, 100.0)
    [task] = [t for t in get_benchmark("repoeval").load(released).tasks if t.level == TaskLevel.LINE]
    exported = released_record(task, "x", "repocoder")
    assert exported["metadata"]["line_no"] == record["metadata"]["line_no"]


def test_score_names_malformed_lines_and_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    good = {"task_id": "a/1/line", "prediction": "x = 1", "target": "x = 1"}
    write_jsonl(
        file,
        [
            good,
            "{broken",
            {"task_id": "a/2", "prediction": "x", "target": "x"},
            {"task_id": "a/3/line", "prediction": 7, "target": "x"},
            {"task_id": "a/4/line", "pred": "x"},
            {"prediction": "x"},
            {"choices": [], "metadata": {}},
            good,
            {"task_id": "a/5", "prediction": "y", "target": "z", "level": "word"},
        ],
    )
    result = CliRunner().invoke(app, ["score", str(file), "--family", "repocoder"])
    assert result.exit_code == 1
    assert "100.00" in result.stdout
    named = [int(line.split(":")[1].split()[0]) for line in result.stderr.splitlines()]
    assert named == [2, 3, 4, 5, 6, 7, 8, 9]


def test_score_needs_the_prompt_where_the_family_parses_it(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    bare = {"task_id": "a/1/line", "prediction": "b(\n    1)\nc = 2\n", "target": "b(\n    1)"}
    write_jsonl(file, [bare, {**bare, "task_id": "a/2/line", "prompt": "a = "}])
    code, report = run_score(str(file), "--family", "crosscodeeval")
    assert code == 1
    assert [m["line"] for m in report["malformed"]] == [1]
    assert report["levels"]["line"]["exact_match"] == 100.0


def test_score_refuses_what_cannot_work(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    write_jsonl(file, [{"task_id": "a", "pred": "x"}])
    for arguments, error in [
        ([str(file), "--family", "bleu"], UsageError),
        ([str(tmp_path / "gone"), "--family", "repocoder"], UsageError),
        ([str(file), "--family", "repocoder", "--benchmark", "humaneval"], UsageError),
        ([str(file), "--family", "repocoder", "--data", str(tmp_path)], UsageError),
        ([str(file), "--family", "repocoder"], SourceError),
    ]:
        assert isinstance(CliRunner().invoke(app, ["score", *arguments]).exception, error)
    file.write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(SourceError):
        read_predictions(file, References())


def test_score_finds_repocoder_predictions_by_their_place_in_the_benchmark(
    released: Path, tmp_path: Path
) -> None:
    file = tmp_path / "predictions.jsonl"
    records = [*line_records(), *api_records(), *function_records()]
    write_jsonl(file, repocoder_lines(records, [r["metadata"]["ground_truth"] for r in records]))
    arguments = [str(file), "--family", "repoformer", "--benchmark", "repoeval", "--data", str(released)]
    code, report = run_score(*arguments)
    assert code == 0
    counts = {level: row["num_predictions"] for level, row in report["levels"].items()}
    assert counts == {"api": 1, "function": 2, "line": 2, "all": 5}
    assert report["levels"]["all"]["exact_match"] == 100.0
    code, report = run_score(*arguments, "--level", "api")
    assert code == 1
    assert len(report["malformed"]) == 4


def test_repocoder_predictions_without_a_benchmark_need_a_level(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    write_jsonl(file, repocoder_lines(line_records(), ["x", "    store.load()"]))
    result = CliRunner().invoke(app, ["score", str(file), "--family", "repocoder"])
    assert "--level" in result.stderr
    assert isinstance(result.exception, SourceError)
    code, report = run_score(str(file), "--family", "repocoder", "--level", "line")
    assert code == 0
    assert report["levels"]["line"]["exact_match"] == 50.0


@pytest.mark.slow
@pytest.mark.skipif(not REAL_REPOEVAL.is_dir(), reason="the 163 RepoEval function tasks are not here")
def test_the_real_function_tasks_verify_line_by_line(user_cache: None) -> None:
    source = get_benchmark("repoeval")
    try:
        source.prepare(silent)
    except DownloadError as error:
        pytest.skip(f"the three packages cannot be fetched: {error.message}")
    loaded = source.load(REAL_REPOEVAL)
    assert [str(mismatch) for mismatch in loaded.mismatches] == []
    assert Counter(task.repository for task in loaded.tasks) == REAL_REPOSITORIES
    assert not any(repository.excluded_paths for repository in loaded.repositories)
    assert not loaded.notices

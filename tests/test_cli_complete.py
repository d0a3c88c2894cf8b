"""`codefilter complete` as a user meets it: answers, JSON, and one line for every mistake."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from codefilter.cli import main
from codefilter.completion import Completer
from codefilter.config import Settings
from codefilter.index import RepositoryIndex
from codefilter.lm.base import LanguageModel
from codefilter.types import CompletionRequest


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def complete_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code, out, err = run(capsys, "complete", *arguments, "--model", "fake", "--json")
    assert code == 0, err
    result: dict[str, Any] = json.loads(out)
    return result


def test_a_hole_is_completed_and_compared_with_the_truth(
    capsys: pytest.CaptureFixture[str], sample_repository: Path
) -> None:
    file = sample_repository / "shop" / "report.py"
    line = 1 + file.read_text().split("\n").index(
        "        print(order.customer, price_with_tax(order.total_amount()))"
    )
    place = ("--line", line, "--column", 37, "--hole-end", f"{line}:45")
    result = complete_json(capsys, file, *place, "--filter", "all")
    assert result["truth"] == "with_tax"
    assert result["text"].startswith("with_tax")
    assert set(result["seconds"]) >= {"load model", "open index", "retrieve", "filter", "read", "write"}
    kept = {chunk["path"] for chunk in result["chunks"] if chunk["in_prompt"]}
    assert {"shop/pricing.py", "shop/orders.py"} <= kept
    assert result["cross_file_tokens"] > 0
    for chunk in result["chunks"]:
        text = (sample_repository / chunk["path"]).read_text().split("\n")
        assert 1 <= chunk["start_line"] <= chunk["end_line"] <= len(text)
    without = complete_json(capsys, file, *place, "--filter", "none")
    assert without["chunks"] == []
    assert without["cross_file_tokens"] == 0


def test_people_get_the_completion_the_chunks_and_the_times(
    capsys: pytest.CaptureFixture[str], sample_repository: Path
) -> None:
    file = sample_repository / "shop" / "report.py"
    options = ("--line", 3, "--model", "fake", "--filter", "all", "--show-context")
    code, out, _ = run(capsys, "complete", file, *options)
    assert code == 0
    for part in ("completion", "shop/orders.py", "kept", "tokens", "time", "class Order"):
        assert part in out


def test_a_file_in_the_home_folder_is_completed_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a.py", "private.py"):
        (tmp_path / name).write_text("def total_amount(order):\n    return order\n")
    result = complete_json(capsys, tmp_path / "a.py", "--line", 2, "--filter", "all")
    assert result["chunks"] == []
    assert result["notices"][0].startswith("no other file was looked at")
    code, out, err = run(capsys, "explain", tmp_path / "a.py", "--line", 2, "--model", "fake")
    assert (code, out) == (2, "")
    assert "is in no repository" in err
    assert complete_json(capsys, tmp_path / "a.py", "--line", 2, "--filter", "all", "--repo", tmp_path)[
        "chunks"
    ]


def test_of_many_chunks_people_see_ten(capsys: pytest.CaptureFixture[str], sample_repository: Path) -> None:
    for number in range(12):
        text = f"def total_amount_{number}(order):\n    return order.amounts[{number}]\n"
        (sample_repository / "shop" / f"total{number}.py").write_text(text)
    options = (sample_repository / "shop" / "report.py", "--line", 3, "--filter", "top-k:1")
    (sample_repository / "codefilter.toml").write_text("num_candidates = 12\n")
    _, out, _ = run(capsys, "complete", *options, "--model", "fake")
    assert out.count("dropped  ") == 9
    assert "and 2 others, dropped" in out
    assert len(complete_json(capsys, *options)["chunks"]) == 12


def test_the_index_says_when_a_chunk_is_over_the_budget(
    capsys: pytest.CaptureFixture[str], sample_repository: Path
) -> None:
    (sample_repository / "codefilter.toml").write_text("cross_file_tokens = 20\n")
    file = sample_repository / "shop" / "report.py"
    result = complete_json(capsys, file, "--line", 3, "--filter", "all")
    assert any("did not fit" in notice for notice in result["notices"])
    assert not any(chunk["in_prompt"] for chunk in result["chunks"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("shop/missing.py", "--line", 1), 2, "no file"),
        (("shop", "--line", 1), 2, "is a folder"),
        (("shop/loop.py", "--line", 1), 2, "no file shop/loop.py"),
        (("shop/report.py", "--line", 999), 2, "line 999 is not there"),
        (("shop/report.py", "--line", 1, "--column", 99), 2, "column 99 is not there"),
        (("shop/report.py", "--line", 1, "--hole-end", "x"), 2, "is not a place"),
        (
            ("shop/report.py", "--line", 1, "--hole-end", "2", "--max-lines", 1),
            2,
            "does not go with --hole-end",
        ),
        ((".env", "--line", 1), 1, "secret"),
        (("shop/report.py", "--line", 1, "--model", "qwen2.5-coder-0.5b"), 1, "not on this machine"),
        (("shop/report.py", "--line", 1, "--model", "magic"), 2, "no model is called"),
        (("shop/report.py", "--line", 1, "--filter", "magic"), 2, "unknown filter"),
        (("shop/report.py", "--line", 1, "--layout", "magic"), 2, "unknown layout"),
        (("shop/report.py", "--line", 1, "--engine", "magic", "--model", "magic"), 2, "unknown engine"),
        (("shop/report.py", "--line", 1, "--config", "missing.toml"), 2, "missing.toml"),
    ],
)
def test_mistakes_are_one_line_with_a_hint(
    capsys: pytest.CaptureFixture[str],
    sample_repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[object],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(sample_repository)
    (sample_repository / "shop" / "loop.py").symlink_to("loop.py")
    given = arguments if "--model" in arguments else (*arguments, "--model", "fake")
    found, out, err = run(capsys, "complete", *given)
    assert found == code
    assert out == ""
    lines = err.strip().split("\n")
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert lines[1].startswith("hint: ")


def test_a_broken_configuration_is_one_line(
    capsys: pytest.CaptureFixture[str], sample_repository: Path
) -> None:
    (sample_repository / "codefilter.toml").write_text("filter = \n")
    file = sample_repository / "shop" / "report.py"
    code, _, err = run(capsys, "complete", file, "--line", 1, "--model", "fake")
    assert code == 2
    assert "codefilter.toml" in err


@pytest.mark.slow
def test_the_real_model_uses_another_file(default_model: LanguageModel, sample_repository: Path) -> None:
    text = (sample_repository / "shop" / "report.py").read_text()
    at = text.index("price_with_tax(order.") + len("price_with_t")
    request = CompletionRequest("shop/report.py", text[:at], "\n", "python")
    index = RepositoryIndex.open(sample_repository)
    completion = Completer(index, default_model, Settings(filter="all")).complete(request)
    assert completion.text.startswith("ax(order.total_amount())")
    assert completion.prompt.healed_text == "_t"
    assert not completion.notices


@pytest.mark.slow
def test_a_model_without_a_middle_goes_left_to_right_and_says_so(
    left_to_right_model: LanguageModel, sample_repository: Path
) -> None:
    text = (sample_repository / "shop" / "pricing.py").read_text()
    at = text.index("net_price * (1 + VAT") + len("net_price * (1 + V")
    request = CompletionRequest("shop/pricing.py", text[:at], text[at:], "python")
    index = RepositoryIndex.open(sample_repository)
    completion = Completer(index, left_to_right_model, Settings()).complete(request)
    assert completion.text.startswith("AT_RATE")
    assert "price_with_discount" not in completion.prompt.text  # it stands after the cursor
    assert any("left" in notice or "fill in the middle" in notice for notice in completion.notices)


def test_no_source_text_commands_the_terminal(
    capsys: pytest.CaptureFixture[str], sample_repository: Path
) -> None:
    file = sample_repository / "shop" / "pricing.py"
    file.write_text('TITLE = "\x1b]0;title\x07"\n' + file.read_text())
    place = ("--line", 1, "--column", 9, "--hole-end", "1:20")
    code, out, _ = run(capsys, "complete", file, *place, "--model", "fake", "--filter", "all")
    assert code == 0
    assert " ]0;title " in out
    assert out.replace("\n", "").isprintable()
    shown = ("--line", 3, "--model", "fake", "--filter", "all", "--show-context")
    code, out, _ = run(capsys, "complete", sample_repository / "shop" / "report.py", *shown)
    assert code == 0
    assert " ]0;title " in out
    assert out.replace("\n", "").isprintable()

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from codefilter.cli import doctor, main
from codefilter.cli.doctor import Finding, State, run_checks
from codefilter.errors import ModelMissingError
from codefilter.index import RepositoryIndex
from codefilter.languages import parse, table
from codefilter.lm.openvino_lm import choose_numbers
from tests.tiny_models import save_tiny_model


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Leave out the checks that load torch."""
    left_out = ("torch", "device", "engine")
    checks = {name: check for name, check in doctor._CHECKS.items() if name not in left_out}
    monkeypatch.setattr(doctor, "_CHECKS", checks)
    return checks


def test_without_a_model_it_says_what_to_do_and_fails(
    few_checks: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert list(report["checks"]) == list(few_checks)
    model = report["checks"].pop("model")
    assert model["state"] == "missing"
    assert "codefilter models pull" in model["action"]
    missing = {name: check for name, check in report["checks"].items() if check["state"] == "missing"}
    assert not missing


def test_the_table_shows_every_check_and_action(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = {
        "one": Finding(State.OK, "[fine]"),
        "two": Finding(State.WARN, "slow", "Buy a faster one."),
    }
    monkeypatch.setattr(doctor, "run_checks", lambda folder: findings)
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for word in ("one", "[fine]", "two", "warn", "→ Buy a faster one."):
        assert word in printed


def test_the_cache_is_left_as_it_was(few_checks: dict[str, object], tmp_path: Path) -> None:
    cache = doctor._cache(tmp_path)
    assert cache.state in (State.OK, State.WARN)
    assert [path.name for path in Path(cache.detail.partition(",")[0]).iterdir()] == []


def test_a_broken_configuration_is_one_finding_and_no_more(
    few_checks: dict[str, object], sample_repository: Path
) -> None:
    (sample_repository / "codefilter.toml").write_text("mdoel = 'x'\n")
    findings = run_checks(sample_repository / "shop")
    assert findings["configuration"].state is State.MISSING
    assert findings["configuration"].action == "Did you mean model?"
    assert findings["languages"].state is State.OK


def test_no_check_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def raise_it(folder: Path) -> Finding:
        raise OSError("libtorch.so:\ncannot open shared object file")

    def lacks(folder: Path) -> Finding:
        raise ModelMissingError("not here", hint="Pull it.")

    monkeypatch.setattr(doctor, "_CHECKS", {"broken": raise_it, "lacking": lacks})
    findings = run_checks(tmp_path)
    assert findings["broken"].state is State.MISSING
    assert findings["broken"].detail == "OSError: libtorch.so: cannot open shared object file"
    assert findings["lacking"] == Finding(State.MISSING, "not here", "Pull it.")


def test_a_grammar_that_does_not_load_is_told_and_files_are_cut_into_windows(
    few_checks: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    sample_repository: Path,
    tmp_path: Path,
) -> None:
    (sample_repository / "main.go").write_text("package main // without a grammar\n\nfunc main() {}\n")
    monkeypatch.setitem(table._BY_NAME, "go", replace(table._BY_NAME["go"], grammar="missing:language"))
    parse.cache_clear()
    finding = run_checks(tmp_path)["languages"]
    parse.cache_clear()
    assert finding.state is State.WARN
    assert finding.detail == "no grammar for go: their files are cut into windows"
    with RepositoryIndex.open(sample_repository, cache_dir=tmp_path / "cache") as index:
        assert index.report.languages["go"].num_chunks == 1
        assert index.report.num_syntax_errors == 0


def test_a_cache_that_cannot_be_written(
    few_checks: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CODEFILTER_CACHE", str(tmp_path / "file" / "cache"))
    finding = run_checks(tmp_path)["cache"]
    assert finding.state is State.MISSING
    assert "CODEFILTER_CACHE" in finding.action


def test_torch_and_the_device_are_described(tmp_path: Path) -> None:
    assert doctor._torch(tmp_path).detail.startswith("torch 2.")
    assert doctor._device(tmp_path).state is State.OK


def test_the_engine_is_the_one_that_runs_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._engine(tmp_path).detail == "auto; not tried without the model"
    monkeypatch.setenv("CODEFILTER_MODEL", str(save_tiny_model(tmp_path / "tiny")))
    monkeypatch.setenv("CODEFILTER_DEVICE", "cpu")
    for engine, numbers in (
        ("onnxruntime", "int8 activations"),
        ("openvino", choose_numbers("auto").description),
    ):
        monkeypatch.setenv("CODEFILTER_ENGINE", engine)
        assert doctor._engine(tmp_path) == Finding(State.OK, f"{engine}, {numbers}")
    monkeypatch.setenv("CODEFILTER_ENGINE", "torch")
    monkeypatch.setattr("torch.cpu.get_capabilities", dict)
    assert "bfloat16" in doctor._engine(tmp_path).action
    monkeypatch.setenv("CODEFILTER_DTYPE", "float32")
    assert doctor._engine(tmp_path) == Finding(State.OK, "torch, float32")


@pytest.mark.parametrize(
    ("variable", "value", "check"),
    [
        ("LAYOUT", "magic", "configuration"),
        ("RETRIEVER", "magic", "configuration"),
        ("CHUNKER", "magic", "configuration"),
        ("CHUNK_ORDER", "magic", "configuration"),
        ("ENGINE", "magic", "engine"),
        ("ENGINE", "remote", "engine"),
    ],
)
def test_settings_with_which_no_completion_works_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, check: str
) -> None:
    monkeypatch.setenv(f"CODEFILTER_{variable}", value)
    found = run_checks(tmp_path)[check]
    assert found.state is State.MISSING
    assert value in found.detail
    assert found.action


def test_an_engine_that_cannot_run_the_model_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEFILTER_MODEL", str(save_tiny_model(tmp_path / "tiny")))
    monkeypatch.setenv("CODEFILTER_ENGINE", "openvino")
    monkeypatch.setenv("CODEFILTER_DTYPE", "float16")
    found = run_checks(tmp_path)["engine"]
    assert found.state is State.MISSING
    assert "does not compute in 'float16'" in found.detail


def test_a_filter_whose_weights_do_not_fit_is_found(
    few_checks: dict[str, object], sample_repository: Path
) -> None:
    assert "weights shipped" in run_checks(sample_repository)["filter"].detail
    (sample_repository / "codefilter.toml").write_text("retriever = 'bm25'\n")
    found = run_checks(sample_repository)["filter"]
    assert found.state is State.MISSING
    assert "another --filter" in found.action

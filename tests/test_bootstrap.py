import ast
import importlib.util
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from codefilter.models import known_models
from codefilter.packages import load_corpora

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "bootstrap.py"
CUDA = ["torch", "nvidia-cublas-cu12", "triton"]


class Commands:
    """Stands in for `subprocess`: notes what would run and answers as told."""

    PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.torch_brings = ["torch"]
        self.failing: set[str] = set()

    def run(self, command: list[str], **_: object) -> SimpleNamespace:
        line = " ".join(command)
        self.lines.append(line)
        if "-m venv" in line:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        report = json.dumps({"install": [{"metadata": {"name": name}} for name in self.torch_brings]})
        failed = any(word in line for word in self.failing)
        return SimpleNamespace(returncode=int(failed), stdout=report)

    def any(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("CODEFILTER_VENV", str(tmp_path / "venv"))
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands()
    monkeypatch.setattr(bootstrap, "subprocess", commands)
    monkeypatch.setattr(bootstrap, "has_gpu", lambda: False)
    return commands


def test_the_required_torch_is_that_of_pyproject(bootstrap: ModuleType) -> None:
    requirement = bootstrap.torch_requirement((ROOT / "pyproject.toml").read_bytes())
    assert requirement.startswith("torch>=")
    assert f'"{requirement}"' in (ROOT / "pyproject.toml").read_text()
    assert "torch>=" not in SCRIPT.read_text()


@pytest.mark.parametrize(
    ("brings", "gpu", "with_uv"),
    [(CUDA, False, True), (CUDA, True, False), (["torch", "sympy"], False, False), ([], False, False)],
)
def test_cuda_is_installed_only_where_there_is_a_gpu(
    bootstrap: ModuleType,
    commands: Commands,
    brings: list[str],
    gpu: bool,
    with_uv: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands.torch_brings = brings
    monkeypatch.setattr(bootstrap, "has_gpu", lambda: gpu)
    bootstrap.install_torch(["pip", "install"], "torch>=2")
    assert commands.any("uv pip install") == with_uv
    assert commands.lines[-1].endswith("--torch-backend cpu torch>=2" if with_uv else "pip install torch>=2")


def test_a_second_run_installs_nothing(bootstrap: ModuleType, commands: Commands) -> None:
    bootstrap.install("dev")
    assert commands.any("-m venv")
    assert commands.any(f"--editable {ROOT}[dev]")
    commands.lines.clear()
    bootstrap.install("dev")
    bootstrap.install("cpu")  # less than what is there
    assert commands.lines == []


def test_an_environment_without_pip_is_made_anew(bootstrap: ModuleType, commands: Commands) -> None:
    """As where its creation was interrupted."""
    Path(bootstrap.PYTHON).parent.mkdir(parents=True)
    Path(bootstrap.PYTHON).touch()
    bootstrap.install("dev")
    assert not commands.any("-m venv")
    commands.failing = {"pip --version"}
    bootstrap.install("cpu")  # all of it is there
    (Path(bootstrap.VENV) / "codefilter-installed.txt").unlink()
    bootstrap.install("dev")
    made = next(number for number, line in enumerate(commands.lines) if "-m venv" in line)
    assert any("--upgrade pip" in line for line in commands.lines[made:])


def test_an_environment_whose_python_is_gone_is_made_anew(bootstrap: ModuleType, commands: Commands) -> None:
    Path(bootstrap.PYTHON).parent.mkdir(parents=True)
    Path(bootstrap.PYTHON).symlink_to("/opt/python-that-was-removed")
    bootstrap.make_environment()
    assert not commands.any("--clear")  # no environment, so nothing is deleted
    (bootstrap.VENV / "pyvenv.cfg").touch()
    Path(bootstrap.PYTHON).unlink(missing_ok=True)
    bootstrap.make_environment()
    assert commands.any(f"-m venv --clear {bootstrap.VENV}")


def test_test_installs_more_than_demo(bootstrap: ModuleType, commands: Commands) -> None:
    bootstrap.install("cpu")
    commands.lines.clear()
    bootstrap.install("dev")
    assert commands.any("[dev]")
    assert not commands.any("-m venv")


def test_a_changed_pyproject_is_installed_again(
    bootstrap: ModuleType, commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    for dependency in ("torch>=2", "torch>=3"):
        (tmp_path / "pyproject.toml").write_text(f'[project]\ndependencies = ["{dependency}"]\n')
        commands.lines.clear()
        bootstrap.install("cpu")
        assert commands.any(f"install --disable-pip-version-check --quiet {dependency}") or commands.any(
            f"install --disable-pip-version-check {dependency}"
        )


def test_another_checkout_is_installed_into_the_same_environment(
    bootstrap: ModuleType, commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
        monkeypatch.setattr(bootstrap, "ROOT", tmp_path / name)
        commands.lines.clear()
        bootstrap.install("cpu")
        assert commands.any(f"--editable {tmp_path / name}[cpu]")


def test_a_failed_installation_is_not_taken_for_done(bootstrap: ModuleType, commands: Commands) -> None:
    commands.failing = {"--editable"}
    with pytest.raises(SystemExit, match="installing CodeFilter failed"):
        bootstrap.install("cpu")
    commands.failing = set()
    commands.lines.clear()
    bootstrap.install("cpu")
    assert commands.any("--editable")


@pytest.mark.parametrize("existed", [True, False])
def test_without_the_venv_module_the_hint_says_what_to_install(
    bootstrap: ModuleType, commands: Commands, tmp_path: Path, existed: bool
) -> None:
    if existed:
        (tmp_path / "venv").mkdir()
    commands.failing = {"-m venv"}
    with pytest.raises(SystemExit, match=r"(?s)cannot create a virtual environment.*python3-venv"):
        bootstrap.make_environment()
    assert (tmp_path / "venv").exists() == existed  # a folder of somebody else's is never deleted


def test_every_check_runs_and_one_failure_is_enough(bootstrap: ModuleType, commands: Commands) -> None:
    commands.failing = {"ruff"}
    assert bootstrap.test(["-k", "something"]) == 1
    for check in ("ruff check .", "ruff format --check .", "mypy", "lint-imports", "pytest"):
        assert commands.any(f"bin/{check}"), check
    assert commands.lines[-1].endswith(" -k something")
    commands.failing = {"editors.tools"}  # no Debian here: the editors' tests are skipped
    assert bootstrap.test([]) == 0


def test_without_a_model_no_test_runs(bootstrap: ModuleType, commands: Commands) -> None:
    commands.failing = {"models pull"}
    with pytest.raises(SystemExit, match="coder-0"):
        bootstrap.test([])
    assert commands.any("bin/mypy")  # what needs no model is said all the same
    assert not commands.any("bin/pytest")


def test_what_the_script_names_exists(bootstrap: ModuleType) -> None:
    assert {pin.name for pin in load_corpora()} >= {bootstrap.DEMO_PACKAGE}
    assert {model.name for model in known_models()} >= set(bootstrap.TEST_MODELS)


def test_the_script_asks_for_the_completion_of_the_demo(bootstrap: ModuleType, commands: Commands) -> None:
    assert bootstrap.demo() == 0
    assert "codefilter complete" in commands.lines[-1]
    assert commands.lines[-1].endswith("--hole-end 98:75")


def test_an_older_python_gets_a_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 8))  # it must get as far as its message
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    with pytest.raises(SystemExit, match=r"Python 3\.11 is needed"):
        runpy.run_path(str(SCRIPT))


def test_ci_calls_the_script() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "bootstrap.py test" in (ROOT / ".ci" / "run").read_text()


def test_installation_for_editors_puts_the_server_where_it_is_found(
    bootstrap: ModuleType,
    commands: Commands,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "install"])
    assert bootstrap.main() == 0
    assert commands.any("models pull")
    server = tmp_path / "venv" / "bin" / "codefilter-lsp"
    assert capsys.readouterr().out.strip() == str(server)
    for name in ("codefilter", "codefilter-lsp"):
        assert (tmp_path / ".local" / "bin" / name).readlink() == server.parent / name
    assert bootstrap.main() == 0  # a second time

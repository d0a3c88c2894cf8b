"""Set CodeFilter up for an editor, show it, or run every check.

Run ``python3.11 bootstrap.py install``, ``... demo`` or ``... test``.

Needs Python 3.11 and nothing else. A virtual environment (``.venv``, or what CODEFILTER_VENV says) gets
torch, in its CPU build where there is no GPU, and the project; weights and a repository go to the user's
cache. A second run finds everything in place.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("CODEFILTER_VENV") or ROOT / ".venv").expanduser().absolute()
PROGRAMS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = str(PROGRAMS / ("python.exe" if os.name == "nt" else "python"))

DEMO_PACKAGE = "asyncvarlink"
DEMO_FILE = "asyncvarlink/serviceinterface.py"
# `return iface.rend` is there; the method's name and keyword are defined in another file of the package
DEMO_PLACE = ("--line", "98", "--column", "26", "--hole-end", "98:75")
FETCH_PACKAGE = """
import sys
from codefilter.packages import fetch_package, load_corpora
print(fetch_package(next(pin for pin in load_corpora() if pin.name == sys.argv[1])))
"""

TEST_MODELS = ("qwen2.5-coder-0.5b", "smollm2-135m")
SOURCE_CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)
TESTS = ("pytest", "--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal")


def main() -> int:
    """Run the chosen command and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "demo", help="set up, then complete a line of a real repository with the default model"
    )
    commands.add_parser("install", help="set up, with the default model, for use in an editor")
    commands.add_parser("test", help="set up, then run all checks; further arguments go to pytest")
    arguments, pytest_arguments = parser.parse_known_args()
    if arguments.command == "demo":
        if pytest_arguments:
            parser.error(f"demo takes no arguments: {' '.join(pytest_arguments)}")
        return demo()
    if arguments.command == "install":
        if pytest_arguments:
            parser.error(f"install takes no arguments: {' '.join(pytest_arguments)}")
        return install_for_editors()
    return test(pytest_arguments)


def install_for_editors() -> int:
    """Install the server and its model, and say where the server is."""
    install(extra="cpu")
    run("fetching the default model", [PYTHON, "-m", "codefilter", "models", "pull"], capture=True)
    suffix = ".exe" if os.name == "nt" else ""
    client, server = (PROGRAMS / f"{name}{suffix}" for name in ("codefilter", "codefilter-lsp"))
    for program in (client, server) if os.name != "nt" else ():
        link = Path.home() / ".local" / "bin" / program.name
        if link.is_symlink() or not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(program)
            say(f"{link} starts it")
    print(server)
    return 0


def demo() -> int:
    """Complete one line of a real repository."""
    install(extra="cpu")
    run("fetching the default model", [PYTHON, "-m", "codefilter", "models", "pull"], capture=True)
    fetch = [PYTHON, "-c", FETCH_PACKAGE, DEMO_PACKAGE]
    repository = run(f"fetching {DEMO_PACKAGE}", fetch, capture=True).strip()
    command = [PYTHON, "-m", "codefilter", "complete", f"{repository}/{DEMO_FILE}", "--repo", repository]
    run("completing", [*command, *DEMO_PLACE])
    return 0


def test(pytest_arguments: Sequence[str]) -> int:
    """Run every check, the later ones too when one fails."""
    install(extra="dev")
    with ThreadPoolExecutor() as pool:  # what the tests need is fetched while the sources are checked
        fetches = [pool.submit(fetch_models), pool.submit(fetch_editors)]
        failed = [" ".join(check) for check in SOURCE_CHECKS if not passes(check)]
        for fetch in fetches:
            fetch.result()
    if not passes([*TESTS, *pytest_arguments]):
        failed.append("pytest")
    say(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def fetch_models() -> None:
    """Put the models that tests use into the user's cache."""
    for model in TEST_MODELS:
        run(f"fetching {model}", [PYTHON, "-m", "codefilter", "models", "pull", model], capture=True)


def fetch_editors() -> None:
    """Put the editors that tests use into the user's cache; a test skips where its editor is missing."""
    say("fetching Neovim, Helix and Emacs")
    tools = [PYTHON, "-m", "tests.editors.tools", "--terminal-only"]
    if subprocess.run(tools, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode != 0:
        say("some of them are missing; their tests are skipped")


def passes(check: Sequence[str]) -> bool:
    """Run one program of the environment on this checkout."""
    program, *options = check
    say(" ".join(check))
    one_thread = {"OMP_NUM_THREADS": "1"} | os.environ  # pytest's workers have the cores already
    command = [str(PROGRAMS / program), *options]
    return subprocess.run(command, cwd=ROOT, check=False, env=one_thread).returncode == 0


def install(extra: str) -> None:
    """Create the virtual environment and install this checkout, unless pyproject.toml is as it was then."""
    project = (ROOT / "pyproject.toml").read_bytes()
    digest = hashlib.sha256(os.fsencode(ROOT) + project).hexdigest()  # checkouts can share CODEFILTER_VENV
    stamp = VENV / "codefilter-installed.txt"
    installed = stamp.read_text().split() if stamp.exists() and Path(PYTHON).exists() else []
    if digest in installed and {extra, "dev"} & set(installed):  # dev has everything
        return
    if not has_pip():
        make_environment()
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
    if not sys.stderr.isatty():
        pip.append("--quiet")
    run("updating pip", [*pip, "--upgrade", "pip"])
    install_torch(pip, torch_requirement(project))
    run("installing CodeFilter", [*pip, "--editable", f"{ROOT}[{extra}]"])
    stamp.write_text(f"{digest} {extra}")


def has_pip() -> bool:
    """Whether the environment is there and whole: pip comes last, if nothing interrupts its creation."""
    command = [PYTHON, "-m", "pip", "--version"]
    return Path(PYTHON).exists() and subprocess.run(command, check=False, capture_output=True).returncode == 0


def make_environment() -> None:
    """Create the virtual environment, or say what this Python lacks."""
    say(f"creating {VENV}")
    existed = VENV.exists()
    orphaned = (VENV / "pyvenv.cfg").exists() and not Path(PYTHON).exists()  # its Python is gone
    options = ["--clear"] if orphaned else []
    result = subprocess.run([sys.executable, "-m", "venv", *options, str(VENV)], check=False)
    if result.returncode != 0:
        if not existed:  # half of an environment would be taken for a whole one
            shutil.rmtree(VENV, ignore_errors=True)
        fail(
            "this Python cannot create a virtual environment",
            "Install its venv module (on Debian and Ubuntu: apt install python3-venv), or create an "
            "environment by other means and name it in CODEFILTER_VENV.",
        )


def torch_requirement(project: bytes) -> str:
    """The line of pyproject.toml that says which torch."""
    import tomllib

    dependencies: list[str] = tomllib.loads(project.decode())["project"]["dependencies"]
    return next(line for line in dependencies if re.match(r"torch\b", line))


def install_torch(pip: Sequence[str], requirement: str) -> None:
    """Install torch; where there is no GPU, never the gigabytes of CUDA that come with its default build."""
    question = [*pip, "--quiet", "--dry-run", "--report", "-", requirement]
    planned = json.loads(run("asking which torch fits", question, capture=True))
    packages = [item["metadata"]["name"].lower() for item in planned["install"]]
    if has_gpu() or not any(re.match(r"nvidia-|triton|cuda-", package) for package in packages):
        run("installing torch", [*pip, requirement])
        return
    run("installing uv, which finds torch's CPU build", [*pip, "uv"])
    uv = [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, "--torch-backend", "cpu"]
    run("installing torch for the CPU", [*uv, requirement])


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU that torch could use."""
    return shutil.which("nvidia-smi") is not None or any(Path("/dev").glob("nvidia[0-9]*"))


def run(what: str, command: Sequence[str], *, capture: bool = False) -> str:
    """Say what happens, do it, end the whole script if it fails; returns the output if it is captured."""
    say(what)
    started = time.monotonic()
    result = subprocess.run(
        command, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE if capture else None
    )
    if result.returncode != 0:
        fail(
            f"{what} failed", "Mend what is said above and run the same command again: it goes on from here."
        )
    say(f"{what}: done in {time.monotonic() - started:.0f} s")  # others may run meanwhile
    return result.stdout or ""


def say(text: str) -> None:
    """One line of progress on stderr."""
    print(f"[bootstrap] {text}", file=sys.stderr, flush=True)


def fail(message: str, hint: str) -> None:
    """End the script with an error and what to do about it."""
    sys.exit(f"error: {message}\nhint: {hint}")


if sys.version_info < (3, 11):  # noqa: UP036 - this file alone is started by whatever Python there is
    fail(f"Python 3.11 is needed, this is {sys.version.split()[0]}", "Run it with python3.11 or newer.")
if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        sys.exit(130)

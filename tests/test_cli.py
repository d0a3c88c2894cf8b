"""The frame of the command line: what a failure prints, and the exit code."""

from __future__ import annotations

import errno
import inspect
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codefilter import __version__
from codefilter.cli import doctor, main
from codefilter.cli.complete import complete_command
from codefilter.cli.explain import explain_command
from codefilter.errors import CancelledError, CodeFilterError, UsageError

CODEFILTER = (sys.executable, "-m", "codefilter")


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let a command raise."""

    def raise_it(folder: Path) -> None:
        raise error

    monkeypatch.setattr(doctor, "run_checks", raise_it)


@pytest.mark.parametrize(
    ("error", "exit_code", "stderr"),
    [
        (CodeFilterError("it broke", hint="Mend it."), 1, "error: it broke\nhint: Mend it.\n"),
        (CodeFilterError("it broke"), 1, "error: it broke\n"),
        (UsageError("no such line", hint="Count again."), 2, "error: no such line\nhint: Count again.\n"),
        (CancelledError("cancelled"), 130, "error: cancelled\n"),
        (CodeFilterError("[red]a[/red]\n\x1b[31mb"), 1, "error: [red]a[/red]  [31mb\n"),
    ],
)
def test_expected_errors_are_two_lines(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: CodeFilterError,
    exit_code: int,
    stderr: str,
) -> None:
    fail_with(monkeypatch, error)
    assert main(["doctor"]) == exit_code
    captured = capsys.readouterr()
    assert captured.err == stderr
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (
            OSError(errno.ENOSPC, "No space", "/cache/x"),
            "no space left on the disk: /cache/x",
            "CODEFILTER_CACHE",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "Permission denied: /x", "read and write"),
        (OSError("odd"), "odd", "--debug"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero (this is a bug)", "--debug"),
    ],
)
def test_unexpected_errors_are_two_lines_too(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    message: str,
    hint: str,
) -> None:
    fail_with(monkeypatch, error)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0] == f"error: {message}"
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]


@pytest.mark.parametrize("arguments", [["--debug", "doctor"], ["doctor", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    fail_with(monkeypatch, UsageError("no such line"))
    assert main(arguments) == 2
    stderr = capsys.readouterr().err
    assert "Traceback (most recent call last)" in stderr
    assert stderr.endswith("error: no such line\n")


def test_debug_after_two_dashes_is_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "remove", "--", "--debug"]) == 2
    stderr = capsys.readouterr().err
    assert "Traceback" not in stderr
    assert "--debug" in stderr.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["nonsense"], "codefilter"),
        (["doctor", "--nonsense"], "codefilter doctor"),
        (["complete"], "codefilter complete"),
        (["complete", "x.py", "--line", "one"], "codefilter complete"),
        (["models", "nonsense"], "codefilter models"),
    ],
)
def test_wrong_use_exits_with_2_and_names_the_help(
    capsys: pytest.CaptureFixture[str], arguments: list[str], command: str
) -> None:
    assert main(arguments) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert second == f"hint: See {command} --help."


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"codefilter {__version__}\n"
    for arguments in ([], ["--help"]):
        assert main(arguments) == 0
        help_text = capsys.readouterr().out
        for command in ("complete", "index", "models", "doctor"):
            assert f"  {command}  " in help_text


@pytest.mark.parametrize("command", ["complete", "index", "models", "doctor"])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "--help"]) == 0
    assert f"Usage: codefilter {command}" in capsys.readouterr().out


def test_ctrl_c_is_one_line_and_130() -> None:
    code = (
        "import signal, sys, time; from codefilter.cli import doctor, main;"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"  # a shell's background has it ignored
        "doctor.run_checks = lambda folder: (print('ready', flush=True), time.sleep(30));"
        "sys.exit(main(['doctor']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (130, "error: interrupted\n")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([*CODEFILTER, "--help"], stdout=write_end, stderr=subprocess.PIPE, timeout=30)
    os.close(write_end)
    assert done.stderr == b""


def test_a_terminal_without_unicode(sample_repository: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*CODEFILTER, "complete", "gibt→es→nicht.py", "--line", "1"],
        cwd=sample_repository,
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"error: no file gibt")


def test_help_is_quick() -> None:
    started = time.monotonic()
    subprocess.run([*CODEFILTER, "--help"], check=True, capture_output=True, timeout=30)
    assert time.monotonic() - started < 5  # measured: 0.4 s; torch would take several


def test_complete_and_explain_have_the_same_options_for_the_same_things() -> None:
    of_complete, of_explain = (
        {name: value.annotation for name, value in inspect.signature(command).parameters.items()}
        for command in (complete_command, explain_command)
    )
    shared = of_complete.keys() & of_explain.keys() - {"file", "line"}  # which only one of them insists on
    assert {name: of_complete[name] for name in shared} == {name: of_explain[name] for name in shared}
    assert of_complete.keys() - of_explain.keys() == {"repo", "show_context"}  # explain takes several

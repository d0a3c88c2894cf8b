"""The command line: one file per command, and the frame that turns every failure into one line.

In: arguments. Out: results on stdout; progress, ``error:`` and ``hint:`` on stderr; exit code 0, 1 (failure),
2 (wrong use) or 130 (interrupted). ``--debug``, before or after the command, shows the traceback as well.

Notable: commands import what is heavy (torch, transformers) only when they run, so that ``--help`` is quick.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from codefilter import __version__
from codefilter.cli import benchmark, dataset, feedback, models, speed, train
from codefilter.cli.compare import compare_command
from codefilter.cli.complete import complete_command
from codefilter.cli.doctor import doctor_command
from codefilter.cli.evaluate import evaluate_command
from codefilter.cli.explain import explain_command
from codefilter.cli.index import index_command
from codefilter.cli.playground import playground_command
from codefilter.cli.report import report_command
from codefilter.cli.score import score_command
from codefilter.errors import CodeFilterError
from codefilter.terminal import printable

EXIT_INTERRUPTED = 130

app = typer.Typer(
    help="Code completion that knows the repository, and shows the model what is likely to help.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("complete")(complete_command)
app.command("explain")(explain_command)
app.command("index")(index_command)
app.command("playground")(playground_command)
app.add_typer(models.app, name="models")
app.command("doctor")(doctor_command)
app.command("evaluate")(evaluate_command)
app.command("compare")(compare_command)
app.command("report")(report_command)
app.add_typer(dataset.app, name="dataset")
app.add_typer(train.app, name="train")
app.add_typer(benchmark.app, name="benchmark")
app.add_typer(feedback.app, name="feedback")
app.command("score")(score_command)
app.add_typer(speed.app, name="speed")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"codefilter {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the script ``codefilter`` exits with it."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = _take_debug(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # source text may hold what the terminal's encoding lacks
    try:
        code = app(arguments, prog_name="codefilter", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader is gone, as in `codefilter ... | head`: nothing to say, now or at the last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _report(error)
    if code == EXIT_INTERRUPTED:  # which is also what typer makes of Ctrl-C
        _say("error", "interrupted")
    return code if isinstance(code, int) else 0


def _take_debug(arguments: list[str]) -> bool:
    """Remove ``--debug`` from wherever it stands among the options, and say whether it was there."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--debug" not in options:
        return False
    arguments.remove("--debug")
    return True


def _report(error: Exception) -> int:
    """Print an error's lines on stderr and return its exit code."""
    if isinstance(error, CodeFilterError):
        return _fail(error.message, error.hint, error.exit_code)
    if isinstance(error, TyperException):
        message = error.format_message()
        if "\n" in message:  # not an error, but the help of a group that was called without a command
            typer.echo(message, err=True)
            return error.exit_code
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "codefilter"
        return _fail(message, f"See {command} --help.", error.exit_code)
    if isinstance(error, OSError):
        return _fail(*_explain_os_error(error), 1)
    return _fail(
        f"{type(error).__name__}: {error} (this is a bug)", "Run again with --debug and report it.", 1
    )


def _explain_os_error(error: OSError) -> tuple[str, str]:
    message = error.strerror or str(error)
    place = f": {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free some space, or put the cache on another disk with CODEFILTER_CACHE=FOLDER."
        return f"no space left on the disk{place}", hint
    if isinstance(error, PermissionError):
        return f"{message}{place}", "Check who may read and write there."
    return f"{message}{place}", "Run again with --debug to see where it happened."


def _fail(message: str, hint: str, exit_code: int) -> int:
    _say("error", message)
    if hint:
        _say("hint", hint)
    return exit_code


def _say(label: str, text: str) -> None:
    """One line on stderr; control characters do not reach the terminal."""
    color = {"error": typer.colors.RED, "hint": typer.colors.CYAN}[label]
    typer.echo(f"{typer.style(label + ':', fg=color, bold=True)} {printable(text)}", err=True)

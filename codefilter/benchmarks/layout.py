"""Where the files of a released benchmark lie.

In: a benchmark's name, a folder that the user gives. Out: task files, repository folders. Notable: the
archives are unpacked by hand into different depths, so that the places below are all tried; nothing is
searched deeper.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from codefilter.errors import UsageError
from codefilter.paths import cache_path, expanded

_TASK_FOLDERS = (".", "datasets", "*", "*/*")
_REPOSITORY_FOLDERS = (".", "repositories", "repositories/*", "crosscodeeval_rawdata")


def data_folder(benchmark: str, given: Path | None = None) -> Path | None:
    """The folder that was given, that ``CODEFILTER_<NAME>`` names, or in the cache; None where none is there.

    Raises:
        UsageError: The folder that was given, or the variable's, does not exist.
    """
    variable = f"CODEFILTER_{benchmark.upper()}"
    if given is None and os.environ.get(variable):
        given = expanded(os.environ[variable])
    if given is None:
        prepared = prepared_folder(benchmark)
        return prepared if prepared.is_dir() else None
    if not given.is_dir():
        raise UsageError(f"no folder {given}", hint=f"Check --data, or the variable {variable}.")
    return given


def prepared_folder(benchmark: str) -> Path:
    """Where ``codefilter benchmark prepare`` puts what it fetches."""
    return cache_path() / "benchmarks" / benchmark


def find_task_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Files whose name fits a pattern, each once, sorted."""
    found = {
        path
        for place in _TASK_FOLDERS
        for pattern in patterns
        for path in folder.glob(pattern if place == "." else f"{place}/{pattern}")
    }
    return sorted(path for path in found if path.is_file())


def find_repository(name: str, folders: Sequence[Path]) -> Path | None:
    """The repository's folder below the first of the folders that has it."""
    for place in _places(folders):
        if (place / name).is_dir():
            return place / name
    return None


def _places(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        for place in _REPOSITORY_FOLDERS:
            yield from [folder] if place == "." else sorted(folder.glob(place))

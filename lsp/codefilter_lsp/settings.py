"""The editor's options → settings. A bad value falls back, and the user is told.

In: ``initializationOptions`` and a folder. Out: `Settings` and sentences for the user, never an error: an
editor that gets no server because of one wrong word helps nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from codefilter.config import Settings, check_setting, load_settings
from codefilter.errors import CodeFilterError, ConfigError

ORIGIN = "the editor's options"
COMPLETION_FALLBACK = "completion_fallback"


@dataclass(frozen=True)
class EditorOptions:
    """What the editor's user chose."""

    overrides: Mapping[str, object] = field(default_factory=dict)  # names of `Settings`
    completion_fallback: bool | None = None  # offer textDocument/completion; None: where inline is unknown
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class FolderSettings:
    """What counts in one folder."""

    settings: Settings
    problems: tuple[str, ...] = ()


def read_options(options: object) -> EditorOptions:
    """Keep the good ones of the ``initializationOptions``."""
    if options is None:
        return EditorOptions()
    if not isinstance(options, Mapping):
        return EditorOptions(problems=(f"{ORIGIN} are not an object of names and values; they are ignored",))
    overrides: dict[str, object] = {}
    fallback: bool | None = None
    problems = []
    for name, value in options.items():
        if name == COMPLETION_FALLBACK and isinstance(value, bool | None):
            fallback = value
        elif value is not None:
            try:
                check_setting(name, value, ORIGIN)
            except ConfigError as error:
                problems.append(_explain(error))
            else:
                overrides[name] = value
    return EditorOptions(overrides, fallback, tuple(problems))


def folder_settings(root: Path | None, options: EditorOptions) -> FolderSettings:
    """Settings for a folder; a file or environment that is broken is left out."""
    problems: list[str] = []
    for repository in (root, None):
        try:
            return FolderSettings(load_settings(repository, overrides=options.overrides), tuple(problems))
        except ConfigError as error:
            if (problem := _explain(error)) not in problems:
                problems.append(problem)
    values: dict[str, Any] = {
        name: check_setting(name, value, ORIGIN) for name, value in options.overrides.items()
    }
    return FolderSettings(replace(Settings(), **values), tuple(problems))


def in_one_line(error: CodeFilterError) -> str:
    """An error's message and hint as sentences."""
    return f"{error.message.rstrip('.')}. {error.hint}".strip()


def _explain(error: ConfigError) -> str:
    return f"{in_one_line(error)} Until then CodeFilter works without it."

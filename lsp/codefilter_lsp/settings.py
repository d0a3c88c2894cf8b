"""The editor's options → what counts in a folder. A bad value falls back, and the user is told.

In: ``initializationOptions`` and answers to ``workspace/configuration``. Out: `EditorOptions`, `Settings` and
sentences for the user, never an error: an editor that gets no server because of one wrong word helps nobody.

Names are accepted in snake_case and in the camelCase that editors' settings have. Some editors read options
from files of the project that is open; so what a repository's own file may not set needs the user's consent
here too (`consent`).
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from codefilter.choices import CHOICES, check_choice
from codefilter.config import Settings, check_setting, load_settings
from codefilter.errors import CodeFilterError, ConfigError, UsageError

ORIGIN = "the editor's options"
EVERY_LANGUAGE = "*"


@dataclass(frozen=True)
class EditorOptions:
    """What the editor's user chose."""

    overrides: Mapping[str, object] = field(default_factory=dict)  # names of `Settings`
    problems: tuple[str, ...] = ()
    completion_fallback: bool | None = None  # offer textDocument/completion; None: where inline is unknown
    enabled: bool = True
    languages: Mapping[str, bool] = field(default_factory=dict)  # by the editor's names; "*": all others
    block_lines: int = 12  # asked for where a block opens; 1: never more than a line
    candidates: int = 3  # on an explicit request
    debounce_ms: int | None = None  # wait for the next key; None: as long as the typing says
    latency_budget_ms: int = (
        1500  # to read the prompt; what takes longer loses chunks. 0: as long as it takes
    )
    read_ahead: bool = True  # where the cursor rests, and what was left out to answer in time
    idle_unload_minutes: float = 15  # without a request the model leaves memory; 0: never
    feedback: bool = True  # keep what was shown and accepted, on this machine
    status_notifications: bool = False  # send didChangeStatus, which is not in the protocol

    def is_on_for(self, language_id: str) -> bool:
        """Whether completions are wanted in a language."""
        return self.enabled and self.languages.get(language_id, self.languages.get(EVERY_LANGUAGE, True))


_LIMITS = {
    "block_lines": (1, 100),
    "candidates": (1, 10),
    "debounce_ms": (0, 5_000),
    "latency_budget_ms": (0, 60_000),
    "idle_unload_minutes": (0, 100_000),
}
_OWN = [option.name for option in fields(EditorOptions) if option.name not in ("overrides", "problems")]
_NAMES = [*_OWN, *(setting.name for setting in fields(Settings))]


def read_options(options: object, base: EditorOptions = EditorOptions()) -> EditorOptions:
    """Keep the good ones of the editor's options, on top of others; None takes back what those say."""
    if options is None:
        return base
    if not isinstance(options, Mapping):
        return replace(base, problems=(f"{ORIGIN} are not an object of names and values; they are ignored",))
    own: dict[str, Any] = {}
    overrides = dict(base.overrides)
    problems = []
    for written, value in options.items():
        name = _snake_case(str(written))
        try:
            if name in _OWN:
                own[name] = getattr(EditorOptions(), name) if value is None else _checked(name, value)
            elif value is None:
                overrides.pop(name, None)
            else:
                check_setting(name, value, ORIGIN)
                overrides[name] = value
        except ConfigError as error:
            problems.append(_explain(error))
    return replace(base, overrides=overrides, problems=tuple(problems), **own)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda match: f"_{match[0]}", name).lower()


def _checked(name: str, value: object) -> object:
    """An own option's value; `ConfigError` where it is of another kind or beyond its limits."""
    if name == "languages":
        if isinstance(value, Mapping) and all(isinstance(on, bool) for on in value.values()):
            return {str(language): on for language, on in value.items()}
        wanted = 'languages and true or false, as in {"*": true, "markdown": false}'
    elif name in _LIMITS:
        least, most = _LIMITS[name]
        is_minutes = name == "idle_unload_minutes"
        if type(value) in (int, *[float] * is_minutes) and least <= value <= most:  # type: ignore[operator]
            return value
        wanted = f"a {'' if is_minutes else 'whole '}number from {least} to {most}"
    else:
        if isinstance(value, bool):
            return value
        wanted = "true or false"
    raise ConfigError(f"{name} in {ORIGIN} must be {wanted}, not {reprlib.repr(value)}")


@dataclass(frozen=True)
class FolderSettings:
    """What counts in one folder."""

    settings: Settings
    problems: tuple[str, ...] = ()


def folder_settings(root: Path | None, options: EditorOptions) -> FolderSettings:
    """Settings for a folder, without a file or environment that is broken and names that mean nothing."""
    problems: list[str] = []
    settings = _load(root, options, problems)
    for name in CHOICES:
        try:
            check_choice(name, settings)
        except UsageError as error:
            problems.append(_explain(error))
            settings = replace(settings, **{name: getattr(Settings, name)})
        except CodeFilterError:
            continue  # a filter without its weights; who completes is told
    return FolderSettings(settings, tuple(problems))


def _load(root: Path | None, options: EditorOptions, problems: list[str]) -> Settings:
    for repository in (root, None):
        try:
            return load_settings(repository, overrides=options.overrides)
        except ConfigError as error:
            if (problem := _explain(error)) not in problems:
                problems.append(problem)
    values: dict[str, Any] = {
        name: check_setting(name, value, ORIGIN) for name, value in options.overrides.items()
    }
    return replace(Settings(), **values)


def in_one_line(error: CodeFilterError) -> str:
    """An error's message and hint as sentences."""
    return f"{error.message.rstrip('.')}. {error.hint}".strip()


def _explain(error: UsageError) -> str:
    name = re.match(r"unknown setting '(\w+)'", error.message)
    near = difflib.get_close_matches(_snake_case(name[1]), _NAMES, n=1) if name else []
    if near:
        return f"{error.message}. Did you mean {near[0]}? Until then CodeFilter works without it."
    return f"{in_one_line(error)} Until then CodeFilter works without it."

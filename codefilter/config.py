"""Settings: defaults, the user's file, the repository's file, the environment, the command line.

In: a repository's root, an explicit file, overrides. Out: one checked `Settings`; anything wrong is a
`ConfigError` that names where the value came from. Later sources win.

Notable: a repository's own file comes with the code and may be hostile. It may only set what changes the
text of a completion, and choose by name among the models that are here: never a folder, an engine or a
server; ``--config FILE`` is how a person vouches for a file.
"""

from __future__ import annotations

import difflib
import os
import re
import reprlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

import platformdirs

from codefilter.errors import ConfigError

REPOSITORY_FILE = "codefilter.toml"
ENVIRONMENT_PREFIX = "CODEFILTER_"
# variables that other modules and bootstrap.py read; of every benchmark, the one that names its folder
NOT_SETTINGS = frozenset(
    {
        "CODEFILTER_CACHE",
        "CODEFILTER_MODELS_FROM",
        "CODEFILTER_REMOTE_KEY",
        "CODEFILTER_VENV",
        "CODEFILTER_FRESH",
        "CODEFILTER_REPOEVAL",
        "CODEFILTER_CROSSCODEEVAL",
        "CODEFILTER_CROSSCODELONGEVAL",
    }
)

_MODEL_NAME = r"\w[\w.-]*(/\w[\w.-]*)?"  # "qwen2.5-coder-0.5b", "owner/name"; no path, no URL

Value = str | int | None
T = TypeVar("T", str, int)


@dataclass(frozen=True)
class _Rule:
    minimum: int = 0
    maximum: int = 1_000_000
    choices: tuple[str, ...] = ()
    trusted_only: bool = False  # a repository's own file may not set it at all ...
    untrusted_pattern: str | None = None  # ... or only to something that matches


def _setting(
    default: T,
    *,
    minimum: int = 0,
    maximum: int = 1_000_000,
    choices: tuple[str, ...] = (),
    trusted_only: bool = False,
    untrusted_pattern: str | None = None,
) -> T:
    rule = _Rule(minimum, maximum, choices, trusted_only, untrusted_pattern)
    value: T = field(default=default, metadata={"rule": rule})
    return value


@dataclass(frozen=True)
class Settings:
    """What a user can choose. Names of models, filters, layouts and so on are checked where they are used."""

    model: str = _setting("qwen2.5-coder-0.5b", untrusted_pattern=_MODEL_NAME)  # name, folder or remote:URL
    engine: str = _setting("auto", trusted_only=True)
    device: str = _setting("auto")  # auto, cpu, cuda, cuda:1, mps
    dtype: str = _setting("auto", choices=("auto", "float32", "bfloat16", "float16"))
    filter: str = _setting("classifier")
    filter_weights: str = _setting("shipped", trusted_only=True)  # of a trained filter: a folder
    layout: str = _setting("auto")  # see `prompts.layouts`
    retriever: str = _setting("hybrid")
    chunker: str = _setting("syntax")
    chunk_order: str = _setting("position")
    num_candidates: int = _setting(0, maximum=1000)  # 0: as many as the filter usually chooses from
    prefix_tokens: int = _setting(1024, minimum=1)
    suffix_tokens: int = _setting(512)
    hole_lines: int = _setting(4)  # so many lines above the cursor's stand in the hole, or some more
    cross_file_tokens: int = _setting(2048)
    max_new_tokens: int = _setting(64, minimum=1)
    max_lines: int | None = _setting(1)  # written 0 for no limit, which is None here


@dataclass(frozen=True)
class ConfigFile:
    """One configuration file that counts, and how far it is trusted."""

    path: Path
    table: tuple[str, ...]  # where in the file the settings are
    trusted: bool


def load_settings(
    repository: Path | None = None,
    *,
    config_file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    defaults: Mapping[str, Value] | None = None,
) -> Settings:
    """Merge and check all sources of settings.

    Args:
        repository: Root of the repository at work; its own file counts, with limits.
        config_file: Replaces the user's and the repository's file (``--config``).
        overrides: Settings by name, the strongest source; None means not given.
        environment: Variables to read; the process's own by default.
        defaults: Settings by name, the weakest source: what a command takes for its own default.

    Raises:
        ConfigError: A file that is missing or broken, an unknown setting, a wrong type or value.
    """
    values: dict[str, Value] = dict(defaults or {})
    for file in configuration_files(repository, config_file=config_file):
        values |= read_config_file(file)
    for variable, text in sorted((os.environ if environment is None else environment).items()):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in NOT_SETTINGS:
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            values[name] = check_setting(name, _typed(name, text), f"the environment variable {variable}")
    for name, value in (overrides or {}).items():
        if value is not None:
            values[name] = check_setting(name, value, f"--{name.replace('_', '-')}")
    return Settings(**values)  # type: ignore[arg-type]  # every value has just been checked


def user_config_file() -> Path:
    """The user's own configuration file, which need not exist."""
    return platformdirs.user_config_path("codefilter", appauthor=False) / "config.toml"


def configuration_files(repository: Path | None, *, config_file: Path | None = None) -> list[ConfigFile]:
    """The files that count, weakest first; `ConfigError` if `config_file` is not there."""
    if config_file is not None:
        if not config_file.is_file():
            raise ConfigError(
                f"no configuration file at {config_file}", hint="Check the path after --config."
            )
        return [ConfigFile(config_file, _table_of(config_file), trusted=True)]
    found = []
    if user_config_file().is_file():
        found.append(ConfigFile(user_config_file(), (), trusted=True))
    if repository is not None:
        own, pyproject = repository / REPOSITORY_FILE, repository / "pyproject.toml"
        if own.is_file():
            found.append(ConfigFile(own, (), trusted=False))
        elif pyproject.is_file() and _mentions_us(pyproject):
            found.append(ConfigFile(pyproject, _table_of(pyproject), trusted=False))
    return found


def _mentions_us(pyproject: Path) -> bool:
    """Whether a file may have settings for us; if not, it may be as broken as it likes."""
    try:
        return b"codefilter" in pyproject.read_bytes()
    except OSError:
        return True  # `read_config_file` says what is wrong


def read_config_file(file: ConfigFile) -> dict[str, Value]:
    """Read and check one file's settings; `ConfigError` names the file and, where known, the line."""
    try:
        table: object = tomllib.loads(file.path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file.path}: {error}", hint="It must be a UTF-8 text file.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{file.path} is not valid TOML: {error}", hint="Correct that line; strings need quotes."
        ) from None
    except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets in each other
        raise ConfigError(
            f"{file.path} is beyond what can be read: {error}", hint="No setting is that long or deep."
        ) from None
    for key in file.table:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(
            f"{file.path}: {'.'.join(file.table)} is not a table",
            hint="Write [tool.codefilter] above the settings.",
        )
    values = {}
    for name, value in table.items():
        values[name] = check_setting(name, value, str(file.path))
        if not file.trusted:
            _check_trust(name, values[name], file.path)
    return values


def check_setting(name: str, value: object, origin: str) -> Value:
    """Check one value and return it as `Settings` wants it; `ConfigError` says what is wrong and where."""
    if name not in _RULES:
        raise ConfigError(f"unknown setting {reprlib.repr(name)} in {origin}", hint=_nearest(name))
    rule, kind = _RULES[name], _KINDS[name]
    if type(value) is not kind:  # not isinstance: True is no number here
        wanted = "text" if kind is str else "a whole number"
        raise ConfigError(
            f"{name} in {origin} must be {wanted}, not {_shown(value)}",
            hint=f"The default is {getattr(Settings, name)!r}.",
        )
    if isinstance(value, int):
        if not rule.minimum <= value <= rule.maximum:
            raise ConfigError(
                f"{name} in {origin} cannot be {_shown(value)}",
                hint=f"From {rule.minimum} to {rule.maximum}.",
            )
        return value or (None if name in _OPTIONAL else 0)
    text = str(value)
    if not text.strip():
        raise ConfigError(f"{name} in {origin} is empty", hint="Leave it out for the default.")
    if rule.choices and text not in rule.choices:
        raise ConfigError(
            f"{name} in {origin} cannot be {reprlib.repr(text)}", hint=f"One of: {', '.join(rule.choices)}."
        )
    return text


def _shown(value: object) -> str:
    """A value in a message, shortened; Python refuses to write thousands of digits."""
    try:
        return reprlib.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def _typed(name: str, text: str) -> object:
    """An environment variable's text as the setting's type, or as it is for `check_setting` to refuse."""
    number = whole_number(text) if _KINDS.get(name) is int else None
    return text if number is None else number


def whole_number(text: str) -> int | None:
    """A whole number that somebody wrote; None for anything else, and for more digits than make sense.

    Python itself raises `ValueError` for thousands of digits.
    """
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,9}", text) else None


def needs_trust(name: str, value: object) -> bool:
    """Whether a setting decides what this machine loads or contacts, so that only its user may make it."""
    rule = _RULES[name]
    pattern = rule.untrusted_pattern
    if rule.trusted_only or pattern is None:
        return rule.trusted_only
    # a name that is also a folder here would be loaded from there, and the folder may be the repository's
    return not re.fullmatch(pattern, str(value)) or Path(str(value)).is_dir()


def _check_trust(name: str, value: Value, path: Path) -> None:
    if needs_trust(name, value):
        raise ConfigError(
            f"{path} may not set {name} = {reprlib.repr(value)}: a repository's own file cannot choose that",
            hint=f"Set it in {user_config_file()}, in {ENVIRONMENT_PREFIX}{name.upper()} or with --{name}, "
            f"or trust the file with --config {path.name}.",
        )


def _table_of(path: Path) -> tuple[str, ...]:
    return ("tool", "codefilter") if path.name == "pyproject.toml" else ()


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), _RULES, n=1)
    return f"Did you mean {near[0]}?" if near else f"Settings are: {', '.join(sorted(_RULES))}."


_HINTS = get_type_hints(Settings)
_RULES: dict[str, _Rule] = {setting.name: setting.metadata["rule"] for setting in fields(Settings)}
_KINDS = {name: str if hint is str else int for name, hint in _HINTS.items()}
_OPTIONAL = {name for name, hint in _HINTS.items() if type(None) in get_args(hint)}

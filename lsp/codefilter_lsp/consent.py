"""What an editor's options may not do without the user's word.

In: `EditorOptions`. Out: the same without what needs consent, and what to ask for. Editors merge the
options of the project that is open into their user's own, and a project may be hostile: it could send code
to an address, or load a model from anywhere. So what `codefilter.toml` of a repository may not set is asked
for once, and the answer is kept beside the user's own configuration file, which needs no consent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from codefilter.config import load_settings, needs_trust, user_config_file
from codefilter.errors import CodeFilterError
from codefilter.paths import write_atomically
from codefilter_lsp.settings import EditorOptions

_FAKE_MODEL = "fake"  # has no weights and no address


@dataclass(frozen=True, order=True)
class Wish:
    """A setting that needs consent."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name} = {self.value}"


def without_wishes(options: EditorOptions) -> tuple[EditorOptions, list[Wish]]:
    """The options that count at once, and the settings that wait for consent."""
    wishes = [
        Wish(name, str(value))
        for name, value in options.overrides.items()
        if needs_trust(name, value) and str(value).partition(":")[0] != _FAKE_MODEL
    ]
    if not wishes:
        return options, []
    granted = _granted() | _own_choices(wishes)
    waiting = [wish for wish in wishes if wish not in granted]
    names = {wish.name for wish in waiting}
    overrides = {name: value for name, value in options.overrides.items() if name not in names}
    return replace(options, overrides=overrides), waiting


def question(wishes: Iterable[Wish]) -> str:
    """What to ask the user."""
    listed = ", ".join(map(str, wishes))
    return (
        f"The editor's options make CodeFilter use {listed}. Options may come from the project that is open, "
        "and this one decides what your machine loads or where your code is sent. Allow it?"
    )


def grant(wishes: Iterable[Wish]) -> None:
    """Remember the user's consent."""
    granted = [[wish.name, wish.value] for wish in sorted(_granted() | set(wishes))]
    write_atomically(_file(), json.dumps(granted, indent=1) + "\n")


def _granted() -> set[Wish]:
    try:
        return {
            Wish(str(name), str(value)) for name, value in json.loads(_file().read_text(encoding="utf-8"))
        }
    except (OSError, ValueError, TypeError):
        return set()  # none given, or nothing that can be read: asked again


def _own_choices(wishes: Iterable[Wish]) -> set[Wish]:
    """Wishes that only say what the user's own file, environment or the defaults say."""
    try:
        own = load_settings(None)
    except CodeFilterError:
        return set()
    return {wish for wish in wishes if str(getattr(own, wish.name)) == wish.value}


def _file() -> Path:
    return user_config_file().with_name("allowed.json")

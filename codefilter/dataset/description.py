"""What a dataset was made with and from: ``dataset.json``.

In: a model, settings, sources. Out: a `Description`. Its `Recipe` is what makes two labels comparable; a
folder holds labels of one recipe only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codefilter.errors import DatasetError
from codefilter.labeling import LabelOptions
from codefilter.lm.base import ModelIdentity
from codefilter.paths import write_atomically

DESCRIPTION_FILE = "dataset.json"
FORMAT = 1
FEW_CONTROLS = "the other repositories have too few chunks for controls"
FOR_NOW = "for now: "  # begins other reasons that are not the task's own


@dataclass(frozen=True)
class Recipe:
    """What every label of a dataset was made with. Labels of another recipe do not belong to it."""

    model: ModelIdentity
    options: LabelOptions
    layout: str
    retriever: str
    chunker: str
    chunk_order: str
    num_candidates: int
    prefix_tokens: int
    suffix_tokens: int
    cross_file_tokens: int


@dataclass(frozen=True)
class SourceRecord:
    """One repository that was asked for."""

    name: str
    version: str
    sha256: str  # of a package's wheel; "" for a folder
    problem: str = ""  # why it gives no examples, or no more
    wheel: str = ""  # a package's file on the package index; "" for a folder, and in descriptions of before


@dataclass(frozen=True)
class RunRecord:
    """One slice of the work."""

    codefilter: str
    engine: str
    machine: str
    examples: int
    seconds: float


@dataclass(frozen=True)
class Description:
    """The contents of ``dataset.json``."""

    recipe: Recipe
    sources: tuple[SourceRecord, ...] = ()
    runs: tuple[RunRecord, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()  # (example, reason): asked for, but not to be labelled

    @property
    def engines(self) -> list[str]:
        """All that ran the model, each once."""
        return sorted({run.engine for run in self.runs if run.engine})


def write_description(folder: Path, description: Description) -> None:
    """Replace ``dataset.json``."""
    text = json.dumps({"format": FORMAT} | asdict(description), ensure_ascii=False, indent=1)
    write_atomically(folder / DESCRIPTION_FILE, text + "\n")


def read_description(folder: Path) -> Description | None:
    """What a dataset was made with; None where there is none."""
    path = folder / DESCRIPTION_FILE
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise DatasetError(f"{path} is of another format", hint="Use the version that made it.")
        recipe = values["recipe"]
        recipe |= {"model": ModelIdentity(**recipe["model"]), "options": LabelOptions(**recipe["options"])}
        return Description(
            Recipe(**recipe),
            tuple(SourceRecord(**source) for source in values["sources"]),
            tuple(RunRecord(**run) for run in values["runs"]),
            tuple((example_id, reason) for example_id, reason in values["skipped"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", hint="Restore it from a copy.") from error


def require_description(folder: Path) -> Description:
    """What a dataset was made with; `DatasetError` where there is none."""
    description = read_description(folder)
    if description is None:
        raise DatasetError(f"{folder} holds no dataset", hint="Make one: codefilter dataset build --out DIR")
    return description


def with_source(description: Description, source: SourceRecord) -> Description:
    """The description with one source added or replaced."""
    others = tuple(other for other in description.sources if other.name != source.name)
    return replace(description, sources=(*others, source))


def comes_again(reason: str) -> bool:
    """Whether a task that was skipped for a reason is asked for again by the next run."""
    return reason == FEW_CONTROLS or reason.startswith(FOR_NOW)


def with_skipped(description: Description, example_id: str, reason: str = "") -> Description:
    """The description with one example skipped for a reason, or without one no more."""
    others = tuple(other for other in description.skipped if other[0] != example_id)
    return replace(description, skipped=(*others, (example_id, reason)) if reason else others)

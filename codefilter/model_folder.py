"""A folder with a model in it: what it must hold, and which sha256 the model is known by.

In: a folder with ``config.json``, ``tokenizer.json`` and safetensors. Out: `ModelFolder`.
Notable: what was pulled carries a record of the sha256 of every file and of what it was converted from, and
keeps that identity by name and by folder; any other folder is known by its safetensors files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from codefilter.errors import IntegrityError, ModelError
from codefilter.paths import remembered_sha256, sha256_of_file, write_atomically
from codefilter.weights import known_models

RECORD_FILE = "codefilter.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class ModelFolder:
    """A model that can be loaded from this machine."""

    name: str
    sha256: str  # of the GGUF; elsewhere over the sha256 of all safetensors files in name order
    folder: Path  # config.json, tokenizer.json, *.safetensors
    family: str  # "" where only the tokenizer can tell
    revision: str  # of the model hub; "" from elsewhere


@dataclass(frozen=True)
class Record:
    """What `pull` writes beside a model's files."""

    name: str
    sha256: str
    revision: str
    converter: str  # "" where nothing was converted
    files: dict[str, str]  # name → sha256


def open_folder(folder: Path) -> ModelFolder:
    """The model in anybody's folder; a record there is not believed.

    Raises:
        ModelError: it cannot be used: no safetensors, no tokenizer, no config.
    """
    require_loadable(str(folder), [path.name for path in folder.iterdir()])
    files = {path.name: remembered_sha256(path) for path in folder.glob("*.safetensors")}
    return ModelFolder(folder.resolve().name, weights_sha256(files), folder, family="", revision="")


def check_files(folder: Path, record: Record) -> ModelFolder:
    """The model of a folder that was pulled; `IntegrityError` where a file is not what was written then."""
    for file, sha256 in record.files.items():
        if not (folder / file).is_file() or remembered_sha256(folder / file) != sha256:
            raise IntegrityError(
                f"{folder / file} is missing or changed",
                hint=f"Run: codefilter models remove {record.name} && codefilter models pull {record.name}",
            )
    family = next((known.family for known in known_models() if known.name == record.name), "")
    return ModelFolder(record.name, record.sha256, folder, family, record.revision)


def hash_files(folder: Path) -> dict[str, str]:
    """Sha256 of every file of a folder, by name."""
    return {path.name: sha256_of_file(path) for path in sorted(folder.iterdir())}


def write_record(folder: Path, record: Record) -> None:
    """Put a pulled model's record beside its files."""
    write_atomically(folder / RECORD_FILE, json.dumps(asdict(record), indent=2) + "\n")


def read_record(folder: Path) -> Record | None:
    """The record of a pulled model; None where there is none, or nothing that can be read."""
    try:
        return Record(**json.loads((folder / RECORD_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def weights_sha256(files: dict[str, str]) -> str:
    """One sha256 over those of all safetensors files in name order."""
    hashes = [files[name] for name in sorted(files) if name.endswith(".safetensors")]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def require_loadable(what: str, files: Collection[str]) -> None:
    """Refuse a model that lacks safetensors, tokenizer or config, saying what to do about it."""
    if not any(file.endswith(".safetensors") for file in files):
        pickled = [file for file in files if file.endswith(_PICKLED)]
        if pickled:
            raise ModelError(
                f"{what} has only pickled weights ({pickled[0]}), which could run code when they are loaded",
                hint="Take its safetensors version, or write one with save_pretrained if you trust the file.",
            )
        raise ModelError(
            f"{what} has no *.safetensors",
            hint="Give a folder that save_pretrained wrote, or a name of: codefilter models list",
        )
    for file in ("config.json", "tokenizer.json"):
        if file not in files:
            raise ModelError(
                f"{what} has no {file}",
                hint="Give a folder that save_pretrained wrote, of the model and of its fast tokenizer.",
            )

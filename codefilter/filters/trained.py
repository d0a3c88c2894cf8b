"""A trained filter's folder: what it was made with, its weights, and whether it fits the work at hand.

In: a folder with ``filter.json`` and ``filter.safetensors``. Out: a `TrainedFilter`, checked. Everything that
would make its probabilities mean something else (features, layout, retriever, chunker) is in the manifest;
a difference is an error that names both sides, never a silent use.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from codefilter.config import Settings
from codefilter.errors import FilterError, IntegrityError
from codefilter.filters.features import FEATURE_NAMES
from codefilter.filters.networks import Ensemble, Network
from codefilter.paths import data_path, expanded, sha256_of_file, write_atomically
from codefilter.prompts.layouts import AUTO, AUTO_WRITES, measuring_layout

MANIFEST_FILE = "filter.json"
WEIGHTS_FILE = "filter.safetensors"
SHIPPED = "shipped"  # the value of the setting `filter_weights` that means the weights of this package
FORMAT = 2
CLASSIFIER = "classifier"  # and cross: what a manifest is of that does not say another form
_CROSS = "cross."  # before the names of the tensors that judge model features


@dataclass(frozen=True)
class FilterManifest:
    """What a filter was trained with, and what it must be used with.

    How many candidates are judged together is not held against the labels: each is compared with the first
    ten only (`COMPARED_CANDIDATES`), as many as labels are of.
    """

    features: tuple[str, ...]
    levels: tuple[float, ...]  # impacts in nats per target token; probabilities are of being above each
    positive_level: float  # T_p: above it a chunk is positive
    negative_level: float  # T_n: below it, negative
    keep_from: float  # probability of being positive from which on a chunk is kept
    cross_keep_from: float | None  # the same for `cross`; None: trained on text features only
    layout: str
    retriever: str
    chunker: str
    prefix_tokens: int  # of the labels; text features say how much is shown, so others are not refused
    suffix_tokens: int
    labelled_by: str  # name of the model whose impacts are learned
    labelled_by_sha256: str
    labels_sha256: str  # over the labels' files; "" where only copy gains were learned
    label_tasks: int
    copy_tasks: int
    repositories: int
    seed: int
    codefilter: str  # version
    weights_sha256: str


@dataclass(frozen=True)
class TrainedFilter:
    """Manifest and networks."""

    manifest: FilterManifest
    ensemble: Ensemble  # text features → logits
    cross: Network | None = None  # those logits and `DraftFeatures`, the model features → logits

    def level_column(self, level: float) -> int:
        """Which output is the probability of an impact above a level."""
        return self.manifest.levels.index(level)

    def check(self, settings: Settings, *, reads: bool = False) -> None:
        """Refuse settings under which the labels would be others; see `check_settings`."""
        made = self.manifest
        check_settings(
            settings, layout=made.layout, retriever=made.retriever, chunker=made.chunker, reads=reads
        )


def check_settings(
    settings: Settings, *, layout: str, retriever: str, chunker: str, reads: bool = False
) -> None:
    """Refuse settings under which the labels would be others.

    Args:
        settings: at work.
        layout: of the labels, as the others are.
        retriever: how the candidates were found.
        chunker: how files were cut.
        reads: the filter reads prompts in the layout of the settings. Others only need impacts that mean the
            same: the layout in which ``auto`` completes will do by name, too.

    Raises:
        FilterError: layout, retriever or chunker differ from those of the labels.
    """
    by_auto = layout == measuring_layout(AUTO)
    measured = measuring_layout(settings.layout)
    if settings.layout == AUTO_WRITES and by_auto and not reads:
        measured = layout
    for name, wanted, given in (
        ("layout", layout, measured),
        ("retriever", retriever, settings.retriever),
        ("chunker", chunker, settings.chunker),
    ):
        if wanted != given:
            use = f"--layout {AUTO}" if name == "layout" and by_auto else f"{name} {wanted}"
            raise FilterError(
                f"the filter's weights were trained with {name} {wanted}, not {given}",
                hint=f"Use {use}, another --filter (all, for example), or weights trained for "
                f"{given} (--filter-weights DIR).",
            )


def filter_folder(setting: str, form: str = CLASSIFIER) -> Path:
    """The folder that the setting `filter_weights` names, for weights of that form."""
    return data_path() / "filters" / form if setting == SHIPPED else expanded(setting)


def load_trained(folder: Path) -> TrainedFilter:
    """Read a filter.

    Raises:
        FilterError: there is none, or it was made for other features or by another format.
        IntegrityError: the weights are not those of the manifest.
    """
    manifest = read_manifest(folder)
    path = checked_weights(folder, manifest.weights_sha256)
    from safetensors.numpy import load_file  # not with --help

    try:
        tensors = load_file(path)
        crossed = {k.removeprefix(_CROSS): t for k, t in tensors.items() if k.startswith(_CROSS)}
        ensemble = Ensemble.from_tensors({k: t for k, t in tensors.items() if not k.startswith(_CROSS)})
        return TrainedFilter(manifest, ensemble, Network.from_tensors(crossed) if crossed else None)
    except (KeyError, ValueError) as error:
        raise FilterError(f"{path} holds no filter: {error}", hint="Train it anew.") from error


def checked_weights(folder: Path, sha256: str) -> Path:
    """The file of a filter's weights; `IntegrityError` where it is not what the manifest promises."""
    path = folder / WEIGHTS_FILE
    if not path.is_file() or sha256_of_file(path) != sha256:
        raise IntegrityError(
            f"{path} is missing or not what {MANIFEST_FILE} promises",
            hint="Restore the folder, or train anew.",
        )
    return path


def read_values(folder: Path, form: str) -> dict[str, Any]:
    """What a manifest says; it must be of that form.

    Raises:
        FilterError: there is none, it cannot be read, or it is of another form or format.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise FilterError(
            f"{folder} holds no trained filter",
            hint=f"Train one: codefilter train {form} --data LABELS --out DIR, then --filter-weights DIR.",
        )
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found, number = values.get("form", CLASSIFIER), values.pop("format")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise FilterError(f"{path} cannot be read: {error}", hint="Train the filter anew.") from error
    if found != form:
        raise FilterError(
            f"{folder} holds weights of the filter {found}, not of {form}",
            hint=f"Use --filter {found}, or --filter-weights with a folder of {form}.",
        )
    if number != FORMAT:
        raise FilterError(f"{path} is of another format", hint="Use the version that made it.")
    return values


def read_manifest(folder: Path) -> FilterManifest:
    """The manifest of a filter's folder; errors as in `load_trained`."""
    path, values = folder / MANIFEST_FILE, read_values(folder, CLASSIFIER)
    try:
        manifest = FilterManifest(
            **values | {"features": tuple(values["features"]), "levels": tuple(values["levels"])}
        )
    except (KeyError, TypeError) as error:
        raise FilterError(f"{path} cannot be read: {error}", hint="Train the filter anew.") from error
    if manifest.features != FEATURE_NAMES:
        changed = sorted(set(manifest.features) ^ set(FEATURE_NAMES))
        what = ", ".join(changed[:3]) or "their order"
        raise FilterError(
            f"{path} was trained on other features than this version computes ({what})",
            hint="Use the version of codefilter that made it, or train it anew.",
        )
    return manifest


def save_trained(
    folder: Path, manifest: FilterManifest, ensemble: Ensemble, cross: Network | None = None
) -> FilterManifest:
    """Write a filter; returned is the manifest with the weights' hash."""
    from safetensors.numpy import save

    named = ensemble.tensors()
    if cross is not None:
        named |= {f"{_CROSS}{name}": tensor for name, tensor in cross.tensors().items()}
    tensors = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in named.items()}
    return replace(manifest, weights_sha256=write_filter(folder, asdict(manifest), save(tensors)))


def write_filter(folder: Path, manifest: dict[str, Any], weights: bytes) -> str:
    """Write a filter's folder; the manifest last, with the weights' hash, which is returned."""
    write_atomically(folder / WEIGHTS_FILE, weights)
    sha256 = sha256_of_file(folder / WEIGHTS_FILE)
    values = {"format": FORMAT} | manifest | {"weights_sha256": sha256}
    write_atomically(folder / MANIFEST_FILE, json.dumps(values, indent=1) + "\n")
    return sha256

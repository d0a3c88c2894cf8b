"""A tuned model's folder: which model it belongs to, the adapter that was trained for it, how it is asked.

In: a folder with ``filter.json`` and ``filter.safetensors``, as of every trained filter; the manifest's form
tells them apart. Out: a `TunedFilter`, checked: it reads with exactly the model that it was trained on.
Notable: the adapter's shape is in the manifest and not in a file of peft's, so that one hash and one
manifest say all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from codefilter.config import Settings
from codefilter.errors import FilterError, ModelMissingError, UsageError
from codefilter.filters.control_tokens import ControlTokens
from codefilter.filters.generative_reading import ReadingShape
from codefilter.filters.trained import (
    MANIFEST_FILE,
    WEIGHTS_FILE,
    check_settings,
    checked_weights,
    read_values,
    write_filter,
)
from codefilter.lm.adapter import Adapter, AdapterShape, require_peft
from codefilter.lm.base import ModelIdentity
from codefilter.model_folder import ModelFolder
from codefilter.models import resolve
from codefilter.prompts.formats import detect_family
from codefilter.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

    from codefilter.lm.torch_lm import TorchLanguageModel

FORM = "generative"


@dataclass(frozen=True)
class TunedManifest:
    """What a model was tuned with, and how it must be used."""

    form: str
    reader: str  # name or folder of the model that was tuned, and reads
    reader_sha256: str
    adapter: AdapterShape  # its rows are those of the control tokens
    shape: ReadingShape
    more_from: float  # probability of <MC> from which on another chunk is read
    positive_from: float  # probability of <pos> from which on a chunk is kept
    positive_level: float  # T_p of the labels
    negative_level: float
    layout: str  # of the labels
    retriever: str
    chunker: str
    labelled_by: str
    labelled_by_sha256: str
    labels_sha256: str
    label_tasks: int  # trained on
    repositories: int
    seed: int
    codefilter: str  # version
    weights_sha256: str
    shuffled: bool = False  # the labels were dealt anew: a control, which nobody should use

    @property
    def control(self) -> ControlTokens:
        """The control tokens."""
        return ControlTokens(*self.adapter.row_ids)


@dataclass(frozen=True)
class TunedFilter:
    """A folder whose manifest fits its weights."""

    folder: Path
    manifest: TunedManifest

    def check(self, settings: Settings) -> None:
        """Refuse to begin what cannot be done; the model is not loaded yet.

        Raises:
            FilterError: it is a control, the labels were of other settings, the model is not here or another.
            UsageError: peft is not installed.
        """
        made = self.manifest
        if made.shuffled:
            raise FilterError(
                f"{self.folder} holds a control, which learned from shuffled labels",
                hint="Train without --shuffle: codefilter train generative.",
            )
        check_settings(settings, layout=made.layout, retriever=made.retriever, chunker=made.chunker)
        require_peft()
        self.base()

    def base(self) -> ModelFolder:
        """The model that was tuned; `FilterError` where it is not here, or is another one."""
        name, sha256 = self.manifest.reader, self.manifest.reader_sha256
        try:
            found = resolve(name)
        except (ModelMissingError, UsageError) as error:
            hint = error.hint if isinstance(error, ModelMissingError) else "Put it there, or train anew."
            raise FilterError(f"the filter reads with {name}, which is not here", hint=hint) from error
        if found.sha256 != sha256:
            raise FilterError(
                f"the filter reads with {name} of sha256 {sha256[:12]}; here it is {found.sha256[:12]}",
                hint="Bring that model back, or train anew: codefilter train generative.",
            )
        return found

    def load(self, settings: Settings) -> TorchLanguageModel:
        """The tuned model; the last one stays loaded."""
        adapter = Adapter(self.manifest.adapter, self.folder / WEIGHTS_FILE)
        return _load(self.base(), adapter, self.manifest.weights_sha256, settings.device, settings.dtype)


@lru_cache(maxsize=1)
def _load(
    base: ModelFolder, adapter: Adapter, weights_sha256: str, device: str, dtype: str
) -> TorchLanguageModel:
    from codefilter.lm.torch_lm import TorchLanguageModel  # not with --help

    family = base.family or detect_family(Tokenizer.from_folder(base.folder))
    identity = ModelIdentity(f"{base.name} tuned", weights_sha256, family)
    return TorchLanguageModel(base.folder, identity, device=device, dtype=dtype, adapter=adapter)


def load_tuned(folder: Path) -> TunedFilter:
    """Read a folder.

    Raises:
        FilterError: it holds nothing, or another filter.
        IntegrityError: the weights are not those of the manifest.
    """
    values = read_values(folder, FORM)
    try:
        adapter = values["adapter"] | {"row_ids": tuple(values["adapter"]["row_ids"])}
        made = {"adapter": AdapterShape(**adapter), "shape": ReadingShape(**values["shape"])}
        manifest = TunedManifest(**values | made)
    except (KeyError, TypeError) as error:
        raise FilterError(f"{folder / MANIFEST_FILE} cannot be read: {error}", hint="Train anew.") from error
    checked_weights(folder, manifest.weights_sha256)
    return TunedFilter(folder, manifest)


def save_tuned(folder: Path, manifest: TunedManifest, tensors: dict[str, torch.Tensor]) -> TunedFilter:
    """Write a filter's folder."""
    from safetensors.torch import save

    sha256 = write_filter(folder, asdict(manifest), save(tensors))
    return TunedFilter(folder, replace(manifest, weights_sha256=sha256))

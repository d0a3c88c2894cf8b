"""Which engine runs a named model: the one place where model code is imported.

In: a model's name or folder, engine, device, dtype. Out: a loaded `LanguageModel`.
"""

from __future__ import annotations

from codefilter.errors import UsageError
from codefilter.lm.base import LanguageModel, ModelIdentity
from codefilter.tokenizer import Tokenizer

ENGINES = ("torch",)


def load_model(
    name: str, *, engine: str = "torch", device: str = "auto", dtype: str = "auto"
) -> LanguageModel:
    """Load a model; `ModelMissingError` where its weights are not here, with the command that gets them.

    Args:
        name: a known model, a Hugging Face name that was pulled, a model folder, or ``fake[:delays]``.
        engine: one of `ENGINES`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16``, ``float16``.
    """
    if name.partition(":")[0] == "fake":
        from codefilter.lm.fake import FakeLanguageModel

        return FakeLanguageModel(name)
    if engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}", hint=f"Engines: {', '.join(ENGINES)}.")
    from codefilter.models import resolve

    found = resolve(name)
    from codefilter.lm.torch_lm import TorchLanguageModel
    from codefilter.prompts.formats import detect_family

    family = found.family or detect_family(Tokenizer.from_folder(found.folder))
    identity = ModelIdentity(found.name, found.sha256, family, found.revision)
    return TorchLanguageModel(found.folder, identity, device=device, dtype=dtype)


def load_tokenizer(name: str) -> Tokenizer:
    """A model's tokenizer alone; `ModelMissingError` where the model is not here."""
    if name.partition(":")[0] == "fake":
        from codefilter.lm.fake import byte_tokenizer

        return byte_tokenizer()
    from codefilter.models import resolve

    return Tokenizer.from_folder(resolve(name).folder)

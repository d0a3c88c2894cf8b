"""Which engine runs a named model: the one place where model code is imported.

In: a model's name, folder or server, engine, device, dtype. Out: a loaded `LanguageModel`.
"""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from codefilter.errors import ModelError, UsageError
from codefilter.lm.base import LanguageModel, ModelIdentity
from codefilter.lm.remote.endpoint import endpoint_tokenizer, is_remote, parse_endpoint
from codefilter.tokenizer import Tokenizer

ENGINES = ("auto", "openvino", "torch", "remote")


def load_model(
    name: str, *, engine: str = "auto", device: str = "auto", dtype: str = "auto"
) -> LanguageModel:
    """Load a model; `ModelMissingError` where its weights are not here, with the command that gets them.

    Args:
        name: a known model, a Hugging Face name that was pulled, a model folder, ``fake[:delays]``, or
            ``remote:URL`` for a server, which then decides on device and dtype.
        engine: one of `ENGINES`; ``auto`` is what `choose_engine` says.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16``, ``float16``.
    """
    if name.partition(":")[0] == "fake":
        from codefilter.lm.fake import FakeLanguageModel

        return FakeLanguageModel(name)
    if engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}", hint=f"Engines: {', '.join(ENGINES)}.")
    if is_remote(name) != (engine == "remote") and engine != "auto":
        raise UsageError(
            f"the engine {engine} is not for {'a server' if is_remote(name) else 'a model on this machine'}",
            hint="A server is --model remote:URL, with --engine auto or remote.",
        )
    if is_remote(name):
        from codefilter.lm.remote.model import RemoteLanguageModel

        return RemoteLanguageModel(name)
    from codefilter.models import resolve

    found = resolve(name)
    from codefilter.prompts.formats import detect_family

    family = found.family or detect_family(Tokenizer.from_folder(found.folder))
    identity = ModelIdentity(found.name, found.sha256, family, found.revision)
    if (choose_engine(found.folder, device, dtype) if engine == "auto" else engine) == "openvino":
        if device not in ("auto", "cpu"):
            raise UsageError(
                f"the openvino engine runs on the CPU, not on {device}", hint="Use --engine torch."
            )
        try:
            from codefilter.lm.openvino_lm import OpenVinoLanguageModel
        except ModuleNotFoundError as error:
            raise UsageError(
                "the openvino engine is not installed", hint='Run: pip install "codefilter[openvino]"'
            ) from error
        return OpenVinoLanguageModel(found.folder, identity, dtype=dtype)
    from codefilter.lm.torch_lm import TorchLanguageModel

    return TorchLanguageModel(found.folder, identity, device=device, dtype=dtype)


def load_tokenizer(name: str) -> Tokenizer:
    """A model's tokenizer alone; `ModelMissingError` where the model is not here."""
    if name.partition(":")[0] == "fake":
        from codefilter.lm.fake import byte_tokenizer

        return byte_tokenizer()
    if is_remote(name):
        return endpoint_tokenizer(parse_endpoint(name))[0]
    from codefilter.models import resolve

    return Tokenizer.from_folder(resolve(name).folder)


def choose_engine(folder: Path, device: str, dtype: str) -> str:
    """``openvino`` where the CPU is to compute and the engine is installed and knows the model; else torch.

    With device ``auto`` the CPU computes unless the machine has an NVIDIA or AMD driver, or Apple's GPU.
    """
    gpu_drivers = (Path("/proc/driver/nvidia"), Path("/dev/kfd"))
    has_gpu = (
        shutil.which("nvidia-smi") is not None
        or any(path.exists() for path in gpu_drivers)
        or (sys.platform == "darwin" and platform.machine() == "arm64")
    )
    if device == "cpu" or (device == "auto" and not has_gpu):
        try:
            from codefilter.lm.openvino_graph import Architecture
            from codefilter.lm.openvino_lm import choose_numbers

            Architecture.from_folder(folder)
            choose_numbers(dtype)
        except (ModuleNotFoundError, ModelError, UsageError):
            return "torch"
        return "openvino"
    return "torch"

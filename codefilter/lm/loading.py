"""Which engine runs a named model: the one place where model code is imported.

In: a model's name, folder or server, engine, device, dtype. Out: a loaded `LanguageModel`.
"""

from __future__ import annotations

import platform
import re
import shutil
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from codefilter.architecture import Architecture
from codefilter.config import Settings
from codefilter.errors import ModelError, UsageError
from codefilter.lm.base import LanguageModel, ModelIdentity
from codefilter.lm.remote.endpoint import endpoint_tokenizer, is_remote, parse_endpoint
from codefilter.machine import instructions
from codefilter.paths import expanded
from codefilter.tokenizer import Tokenizer

ENGINES = ("auto", "onnxruntime", "openvino", "torch", "remote")
CPU_ENGINES = ("onnxruntime", "openvino")
_TOKENIZER_OF_SERVER = re.compile(r"([?&]tokenizer=)[^&]*")
_ONNXRUNTIME_IS_FASTER = ("AVX2", "AVX-512", "AVX-512 VNNI")  # as measured; on others nothing was

_DRIVERS = {"cuda": Path("/proc/driver/nvidia"), "hip": Path("/dev/kfd")}  # by what torch is built for


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
    check_engine(name, engine)
    if is_remote(name):
        from codefilter.lm.remote.model import RemoteLanguageModel

        return RemoteLanguageModel(name)
    from codefilter.models import resolve
    from codefilter.prompts.formats import tokenizer_and_family

    found = resolve(name)
    chosen = choose_engine(found.folder, device, dtype, engine)
    tokenizer, family = tokenizer_and_family(found)
    identity = ModelIdentity(found.name, found.sha256, family, found.revision)
    if chosen == "onnxruntime":
        from codefilter.lm.onnx_lm import OnnxLanguageModel

        return OnnxLanguageModel(found.folder, identity, dtype=dtype, tokenizer=tokenizer)
    if chosen == "openvino":
        from codefilter.lm.openvino_lm import OpenVinoLanguageModel

        return OpenVinoLanguageModel(found.folder, identity, dtype=dtype, tokenizer=tokenizer)
    from codefilter.lm.torch_lm import TorchLanguageModel

    return TorchLanguageModel(found.folder, identity, device=device, dtype=dtype, tokenizer=tokenizer)


def with_absolute_folder(name: str) -> str:
    """A model's name, or a server's with its tokenizer, that means the same in every working folder."""
    from codefilter.models import is_known

    local = parse_endpoint(name).tokenizer if is_remote(name) else name
    folder = expanded(local)
    if not folder.is_dir() or is_known(local):
        return name
    absolute = str(folder.absolute())
    if not is_remote(name):
        return absolute
    return _TOKENIZER_OF_SERVER.sub(lambda found: found[1] + quote(absolute), name)


def load_configured_model(settings: Settings) -> LanguageModel:
    """Load the model of the settings; see `load_model`."""
    return load_model(settings.model, engine=settings.engine, device=settings.device, dtype=settings.dtype)


def load_tokenizer(name: str) -> Tokenizer:
    """A model's tokenizer alone; `ModelMissingError` where the model is not here."""
    if name.partition(":")[0] == "fake":
        from codefilter.lm.fake import byte_tokenizer

        return byte_tokenizer()
    if is_remote(name):
        return endpoint_tokenizer(parse_endpoint(name))[0]
    from codefilter.models import resolve

    return Tokenizer.from_folder(resolve(name).folder)


def check_engine(name: str, engine: str) -> None:
    """`UsageError` where no engine is called that, or it is not for such a model."""
    if engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}", hint=f"Engines: {', '.join(ENGINES)}.")
    if is_remote(name) != (engine == "remote") and engine != "auto":
        raise UsageError(
            f"the engine {engine} is not for {'a server' if is_remote(name) else 'a model on this machine'}",
            hint="A server is --model remote:URL, with --engine auto or remote.",
        )


def choose_engine(folder: Path, device: str, dtype: str, engine: str = "auto") -> str:
    """What runs a model of this machine: the engine of that name, ``torch`` or one of `CPU_ENGINES`.

    ``auto`` is one of these where the CPU is to compute and it is installed and knows the model; else torch.
    With device ``auto`` the CPU computes unless the machine has an NVIDIA or AMD driver that the installed
    torch can use, or Apple's GPU.
    Which comes first the processor decides: onnxruntime on those where it was measured to be the faster one
    (`codefilter speed engines`).

    Raises:
        UsageError: a CPU engine was named, and is not installed or not for this device or dtype.
        ModelError: it does not know the model.
    """
    if engine in CPU_ENGINES:
        describe_cpu_engine(engine, folder, device, dtype)
    if engine != "auto":
        return engine
    if device == "cpu" or (device == "auto" and not _has_gpu()):
        in_order = CPU_ENGINES if instructions() in _ONNXRUNTIME_IS_FASTER else reversed(CPU_ENGINES)
        for candidate in in_order:
            with suppress(ModelError, UsageError):
                describe_cpu_engine(candidate, folder, device, dtype)
                return candidate
    return "torch"


def _has_gpu() -> bool:
    """Whether torch may find a GPU here; it is not asked, since importing it takes seconds."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    drivers = {kind for kind, path in _DRIVERS.items() if path.exists()}
    if shutil.which("nvidia-smi") is not None:
        drivers.add("cuda")
    return bool(drivers) and not drivers.isdisjoint(_kinds_of_torch())


def _kinds_of_torch() -> set[str]:
    """What the installed torch is built for, of `_DRIVERS`: nothing where it is a build for the CPU."""
    spec = find_spec("torch")
    version = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    if version is None or not version.is_file():
        return set()
    text = version.read_text(encoding="utf-8")
    return {kind for kind in _DRIVERS if re.search(rf"^{kind}\b.*= (?!None)", text, re.MULTILINE)}


def describe_cpu_engine(engine: str, folder: Path, device: str, dtype: str) -> str:
    """What a CPU engine computes in, for people; it raises where it cannot run the model: `choose_engine`."""
    if device not in ("auto", "cpu"):
        raise UsageError(f"the {engine} engine runs on the CPU, not on {device}", hint="Use --engine torch.")
    try:
        if engine == "onnxruntime":
            from codefilter.lm.onnx_lm import check_architecture, describe_numbers
        else:
            from codefilter.lm.openvino_lm import describe_numbers
    except ImportError as error:
        raise UsageError(
            f"the {engine} engine is not installed: {error}", hint='Run: pip install "codefilter[cpu]"'
        ) from error
    architecture = Architecture.from_folder(folder)
    if engine == "onnxruntime":
        check_architecture(architecture)
    return f"{engine}, {describe_numbers(dtype)}"

"""The torch engine: any Hugging Face causal model on CUDA, Apple's GPU or the CPU.

In: a model folder (config.json, tokenizer.json, safetensors). Out: a `LanguageModel`.
Notable: `log_likelihoods` packs all continuations behind the shared context into one sequence. Linear layers
see one dense row of tokens, without padding; `packed_attention` lets every continuation attend to the context
and to itself only. Logits are computed at target positions only.
Notable: a model that computes its attention otherwise would be wrong without a sign of it. So two tokens are
read when it is loaded, to see that every layer comes to `packed_attention`.
Notable: where a pass is worth recording (CUDA), tokens are written by recorded passes; see `torch_steps`.
Notable: cancellation is read before every layer, so it takes effect within one layer's time, however long
the prompt slice is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Cache, PreTrainedConfig

from codefilter.errors import ModelError, first_line
from codefilter.lm import decoding
from codefilter.lm.adapter import Adapter, merge_adapter
from codefilter.lm.base import Cancellation, Continuation, Generation, GenerationOptions, ModelIdentity
from codefilter.lm.packing import Pack, packs
from codefilter.lm.torch_attention import ATTENTION, KNOWN_MASKS, unknown_attention
from codefilter.lm.torch_cache import layers_of, new_cache
from codefilter.lm.torch_loading import choose_device, choose_dtype, load_module
from codefilter.lm.torch_steps import Record, Steps, record_graph
from codefilter.tokenizer import Tokenizer
from codefilter.types import LogLikelihood

_log = logging.getLogger(__name__)

_SAME_LOGITS = {torch.float32: 1e-3}  # of the largest one: more than two kernels are apart
_SAME_ROUNDED_LOGITS = 0.05  # the same in 16 bits
_CHECKED_TOKENS = 40
_RECORDED_TOKENS = 4096  # for which room is made first: what is recorded is lost where the buffers move
_SLOW_SLICE = 128  # tokens that a CPU reads at once: a superseded request's reading is kept by slices


class TorchLanguageModel:
    """A causal model of transformers behind the `LanguageModel` interface."""

    def __init__(
        self,
        folder: Path,
        identity: ModelIdentity,
        *,
        device: str = "auto",
        dtype: str = "auto",
        adapter: Adapter | None = None,
        tokenizer: Tokenizer | None = None,
        record: Record | None = None,
    ):
        """Load a model; with an adapter it is another one, which `identity` does not tell.

        A `tokenizer` that has been read from the folder is not read again. `record` is what records short
        passes; by default CUDA graphs where the device is one of CUDA's, and nothing elsewhere.
        """
        self.identity = identity
        self.tokenizer = tokenizer or Tokenizer.from_folder(folder)
        self._device = choose_device(device)
        model = load_module(folder, choose_dtype(dtype, self._device), ATTENTION)
        if adapter is not None:
            model = merge_adapter(model, adapter)
        try:
            self._model = model.to(self._device).eval().requires_grad_(False)
        except RuntimeError as error:  # `torch.OutOfMemoryError` is one
            raise ModelError(
                f"{folder} does not go onto {self._device}: {first_line(error)}",
                hint="Free its memory, take a smaller model, or --device cpu.",
            ) from error
        config = self._model.config.get_text_config()
        self.context_length = int(getattr(config, "max_position_embeddings", 2048))
        self._cancellation: Cancellation | None = None
        for layer in _decoder_layers(self._model):
            layer.register_forward_pre_hook(self._stop_when_cancelled)
        self._session = _TorchSession(self)
        self._check_attention(config)
        if record is None and self._device.type == "cuda":
            record = partial(record_graph, self._device)
        if record is not None and self._is_recordable(record):
            self._session = _TorchSession(self, record)

    @property
    def description(self) -> str:
        """See `LanguageModel.description`."""
        steps = ", recorded steps" if self._session.records else ""
        return f"torch, {self._device.type}, {str(self._model.dtype).removeprefix('torch.')}{steps}"

    @torch.inference_mode()
    def _check_attention(self, config: PreTrainedConfig) -> None:
        """Read two tokens; `ModelError` where not every layer attends by `packed_attention`, and as it does.

        What two tokens cannot show is asked of the config: layers that look back by chunks, not by a window.
        """
        masks = set(getattr(config, "layer_types", None) or ()) - KNOWN_MASKS
        if masks:
            raise unknown_attention(f"it has layers of {', '.join(sorted(masks))}")
        seen = set[torch.nn.Module]()
        try:
            with _memory_errors(self._device):
                self.forward([0, 0], new_cache(), torch.arange(2), keep_logits=torch.tensor([1]), seen=seen)
        except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError) as error:
            raise ModelError(
                f"the torch engine cannot run this model: {first_line(error)}",
                hint="Let a server run it: --model remote:URL.",
            ) from error
        if len(seen) != config.num_hidden_layers:
            raise unknown_attention(
                f"only {len(seen)} of {config.num_hidden_layers} layers take CodeFilter's"
            )

    def _is_recordable(self, record: Record) -> bool:
        """Whether a recorded pass can be had here, and gives elsewhere, too, what a plain one gives."""
        session, ids = _TorchSession(self, record), list(range(min(_CHECKED_TOKENS, self.context_length)))
        plain = session.read(ids, None)
        session.crop(1)
        session.forward(ids[1:2], None)
        session.read(ids[2:-1], None)
        stepped = session.forward(ids[-1:], None)
        tolerance = _SAME_LOGITS.get(self._model.dtype, _SAME_ROUNDED_LOGITS)
        same = np.abs(stepped - plain).max() <= tolerance * np.abs(plain).max()
        if not same:
            _log.warning("recorded passes of this model are wrong here, and not used")
        return bool(same) and session.records

    def _stop_when_cancelled(self, module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        if self._cancellation is not None:
            self._cancellation.raise_if_cancelled()

    @contextmanager
    def _cancelled_by(self, cancellation: Cancellation | None) -> Iterator[None]:
        self._cancellation = cancellation
        try:
            yield
        finally:
            self._cancellation = None

    @torch.inference_mode()
    def log_likelihoods(
        self,
        context: Sequence[int],
        continuations: Sequence[Continuation],
        cancellation: Cancellation | None = None,
    ) -> list[LogLikelihood]:
        """See `LanguageModel.log_likelihoods`."""
        shared, last = decoding.split_context(context, continuations, self.context_length)
        if shared:
            decoding.read_prompt(self._session, shared, cancellation)
        self._session.crop(len(shared))
        results: list[LogLikelihood] = []
        with self._cancelled_by(cancellation), _memory_errors(self._device):
            for pack in packs(last, len(shared), continuations):
                results += pack.log_likelihoods(*self._score(pack, len(shared)))
        return results

    def _score(self, pack: Pack, shared: int) -> tuple[list[float], list[float]]:
        """Log-probabilities of a pack's targets and entropies there; the session is left as it was."""
        if not pack.targets.size:
            return [], []
        try:
            logits = self.forward(
                pack.token_ids.tolist(),
                self._session.cache,
                torch.from_numpy(pack.positions),
                keep_logits=torch.from_numpy(pack.rows),
                segments=pack.segments,
            )
        finally:
            self._session.crop(shared)
        targets = torch.from_numpy(pack.targets).to(logits.device)
        log_probabilities = logits.log_softmax(dim=1)
        entropies = -(log_probabilities.exp() * log_probabilities).sum(dim=1)
        chosen = log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1)
        return chosen.tolist(), entropies.tolist()

    def forward(
        self,
        token_ids: Sequence[int],
        cache: Cache,
        positions: Tensor,
        *,
        keep_logits: Tensor,
        segments: Sequence[int] | None = None,
        seen: set[torch.nn.Module] | None = None,
    ) -> Tensor:
        """One pass over new tokens behind a cache; float32 logits of the wanted rows, (rows, vocabulary).

        The rows are given by their numbers: a slice ("the last one") is a view, which torch multiplies by
        copying the whole output matrix first, half a second on a CPU for each slice of a prompt.
        """
        ids = torch.tensor(list(token_ids), device=self._device)
        rows = keep_logits.to(self._device)
        return self._run(ids, cache, positions.to(self._device), rows, segments=segments, seen=seen)

    def step(self, cache: Cache, token_ids: Tensor, slots: Tensor) -> Tensor:
        """The same over tokens at given places of a cache's buffers, with all rows; see `torch_steps.Run`."""
        layers = layers_of(cache)
        rows = torch.arange(len(token_ids), device=self._device)
        try:
            for layer in layers:
                layer.slots = slots
            return self._run(token_ids, cache, slots, rows, slots=slots)
        finally:
            for layer in layers:
                layer.slots = None

    def _run(
        self, token_ids: Tensor, cache: Cache, positions: Tensor, keep_logits: Tensor, **for_attention: Any
    ) -> Tensor:
        output = self._model(
            input_ids=token_ids.unsqueeze(0),
            position_ids=positions.unsqueeze(0),
            cache=cache,
            use_cache=True,
            logits_to_keep=keep_logits,
            **for_attention,
        )
        logits: Tensor = output.logits[0].float()
        return logits

    def next_logits(
        self, token_ids: Sequence[int], cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """What the model expects after a text, (vocabulary,); what the last one shares is not read again."""
        decoding.check_length(len(token_ids) + 1, self.context_length)
        logits = decoding.read_prompt(self._session, token_ids, cancellation)[1]
        return np.asarray(logits[0], dtype=np.float32)

    def forget(self) -> None:
        """See `LanguageModel.forget`."""
        self._session.forget()

    def hidden_states(
        self, token_ids: Sequence[int], num_states: int, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """See `HiddenStateModel.hidden_states`."""
        last = decoding.read_before_states(
            self._session, token_ids, num_states, self.context_length, cancellation
        )
        seen: list[Tensor] = []
        head: torch.nn.Module = self._model.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        try:
            self._session.read(last, cancellation, rows=num_states)  # hooks do not run in recorded passes
        finally:
            hook.remove()
        return np.asarray(seen[-1][0].float().cpu().numpy(), dtype=np.float32)  # (1, states, hidden) before

    def generate(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        cancellation: Cancellation | None = None,
    ) -> list[Generation]:
        """See `LanguageModel.generate`."""
        return decoding.generate(
            self._session, self.tokenizer, self.context_length, prompt_ids, options, cancellation
        )

    def reusable_tokens(self, prompt_ids: Sequence[int]) -> int:
        """See `LanguageModel.reusable_tokens`."""
        return decoding.common_prefix_length(self._session.token_ids, prompt_ids)


class _TorchSession:
    """The KV cache of the last request, kept for the next."""

    def __init__(self, model: TorchLanguageModel, record: Record | None = None) -> None:
        """`record` is for passes over a few tokens; None: every pass is a plain one."""
        self._model = model
        self._record = record
        self._steps: tuple[list[int], Steps] | None = None  # recorded for buffers of these capacities
        self.cache = new_cache()
        self.outputs: list[Sequence[int]] = []
        self._token_ids: list[int] = []

    @property
    def token_ids(self) -> Sequence[int]:
        return self._token_ids

    @property
    def records(self) -> bool:
        """Whether short passes are recorded; no longer once one could not be."""
        return self._record is not None

    def recall(self, token_ids: Sequence[int]) -> None:
        """Nothing is kept: memory of a GPU is for other things."""

    def forget(self) -> None:
        self.crop(0)
        self.outputs.clear()

    def forward(
        self, token_ids: Sequence[int], cancellation: Cancellation | None, rows: int = 1
    ) -> NDArray[np.float32]:
        stepped = self._step(token_ids, cancellation)
        return self.read(token_ids, cancellation, rows) if stepped is None else stepped[-rows:]

    @torch.inference_mode()
    def read(
        self, token_ids: Sequence[int], cancellation: Cancellation | None, rows: int = 1
    ) -> NDArray[np.float32]:
        """The same by a plain pass."""
        is_slow = cancellation is not None and self._model._device.type == "cpu"
        size = _SLOW_SLICE if is_slow else len(token_ids)
        logits = torch.empty(0)
        for part, wanted in decoding.slices(token_ids, rows, lambda: size):
            logits = self._append(part, wanted, cancellation)
        return np.asarray(logits.cpu().numpy(), dtype=np.float32)

    @torch.inference_mode()
    def _step(
        self, token_ids: Sequence[int], cancellation: Cancellation | None
    ) -> NDArray[np.float32] | None:
        """The same by a recorded pass, with all rows; None where there is none for these tokens."""
        start, layers = len(self._token_ids), layers_of(self.cache)
        room = Steps.room(len(token_ids))
        if self._record is None or not start or room is None or start + room > self._model.context_length:
            return None
        if cancellation is not None:
            cancellation.raise_if_cancelled()
        try:
            for layer in layers:
                layer.reserve(max(start + room, min(_RECORDED_TOKENS, self._model.context_length)))
            capacities = [layer.capacity for layer in layers]  # of unequal growth after a cancelled pass
            if self._steps is None or self._steps[0] != capacities:
                run = partial(self._model.step, self.cache)
                self._steps = capacities, Steps(run, self._model._device, self._record)
            logits = self._steps[1].forward(token_ids, start).cpu()
        except RuntimeError as error:
            _log.warning("passes of this model are not recorded any more: %s", first_line(error))
            self._record = self._steps = None
            return None
        if not logits.isfinite().all():  # perhaps because of what lies behind, which plain passes do not see
            for layer in layers:
                layer.clear_behind(start)
            return None
        for layer in layers:
            layer.length = start + len(token_ids)
        self._token_ids += token_ids
        return np.array(logits.numpy(), dtype=np.float32)

    def _append(self, token_ids: Sequence[int], rows: int, cancellation: Cancellation | None) -> Tensor:
        start, length = len(self._token_ids), len(token_ids)
        try:
            with self._model._cancelled_by(cancellation), _memory_errors(self._model._device):
                positions = torch.arange(start, start + length)
                last_rows = torch.arange(length - rows, length)
                logits = self._model.forward(token_ids, self.cache, positions, keep_logits=last_rows)
        except BaseException:
            self.crop(start)  # some layers have already appended
            raise
        self._token_ids += token_ids
        return logits

    def crop(self, length: int) -> None:
        for layer in layers_of(self.cache):
            layer.length = min(layer.length, length)  # unequal after a cancelled pass
        del self._token_ids[length:]


@contextmanager
def _memory_errors(device: torch.device) -> Iterator[None]:
    """Turn what torch raises where a pass does not go into a device's memory into a `ModelError`."""
    try:
        yield
    except RuntimeError as error:  # `torch.OutOfMemoryError`, or Apple's GPU says so
        if "out of memory" not in str(error):
            raise
        raise ModelError(
            f"{device} has no memory left for this prompt: {first_line(error)}",
            hint="Free its memory, lower cross_file_tokens or prefix_tokens, or --device cpu.",
        ) from error


def _decoder_layers(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The stack of decoder layers: the longest module list of the model."""
    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    return max(stacks, key=len)

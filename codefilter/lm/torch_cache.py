"""Keys and values of the torch engine, in buffers that stay where they are.

In: the keys and values of new tokens, layer by layer. Out: those of all tokens.
Notable: transformers' `DynamicCache` copies everything for each new token. Here only what is new is copied,
forgetting copies nothing, and the addresses stay the same, which a recorded CUDA graph depends on.
Notable: a recorded pass (`torch_steps`) cannot know where it will append. So it is given the places as a
tensor (`slots`), and gets whole buffers back, of which a mask shows the part that is filled.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

_FIRST_TOKENS = 256  # for which room is made at first


class BufferLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values, each (1, kv_heads, capacity, head_dim); the first `length` count."""

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = 0
        self.slots: Tensor | None = None  # (tokens,): where the next ones go, instead of behind the last

    @property
    def capacity(self) -> int:
        """For how many tokens there is room."""
        return int(self.keys.shape[2]) if self.is_initialized else 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Called with what comes first; there is room for nothing yet."""
        self.keys = key_states[:, :, :0]
        self.values = value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append; returned is what counts now, or with `slots` everything."""
        if self.slots is not None:
            self.keys.index_copy_(2, self.slots, key_states)
            self.values.index_copy_(2, self.slots, value_states)
            return self.keys, self.values
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, stop = self.length, self.length + key_states.shape[2]
        self.reserve(stop)
        self.keys[:, :, start:stop] = key_states
        self.values[:, :, start:stop] = value_states
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def reserve(self, tokens: int) -> None:
        """Make room for so many tokens, at least twice as much as there was; the buffers move then."""
        if tokens > self.capacity:
            capacity = max(_FIRST_TOKENS, 2 * self.capacity, tokens)
            wider = (_wider(buffer, capacity, self.length) for buffer in (self.keys, self.values))
            self.keys, self.values = wider  # both or, without memory, none

    def clear_behind(self, tokens: int) -> None:
        """Put zeros where nothing counts: 0 times what is not finite is not 0."""
        self.keys[:, :, tokens:] = 0
        self.values[:, :, tokens:] = 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys that a mask would be for."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """How many tokens count."""
        return self.length

    def get_max_length(self) -> int:
        """-1: no limit."""
        return -1


def new_cache() -> Cache:
    """An empty cache; its layers come with the first pass."""
    return Cache(layer_class_to_replicate=BufferLayer)


def layers_of(cache: Cache) -> list[BufferLayer]:
    """The layers of a `new_cache`."""
    return cast("list[BufferLayer]", cache.layers)


def _wider(buffer: Tensor, capacity: int, filled: int) -> Tensor:
    """Zeros where nothing was written: an attention weight of 0 times anything finite is 0."""
    wider = buffer.new_zeros((*buffer.shape[:2], capacity, buffer.shape[3]))
    wider[:, :, :filled] = buffer[:, :, :filled]
    return wider

"""A decoder-only transformer as an OpenVINO graph, its matrices quantised to 8 bits.

In: the shape and the rotated 8-bit weights of a Llama or Qwen2 model. Out: two `openvino.Model`s.
Notable: built from operations here and not exported from torch: an exporter pins transformers, knows neither
wanted rows nor a mask per pair of tokens, and takes minutes; this takes the time of reading the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
import openvino.opset15 as ops
from numpy.typing import NDArray
from openvino.op import Constant
from openvino.op.util import VariableInfo

from codefilter.architecture import Architecture
from codefilter.quantization import QuantizedWeights, rotation


def build_graphs(architecture: Architecture, weights: QuantizedWeights) -> tuple[ov.Model, ov.Model]:
    """The model as two graphs: the layers, and the head that predicts tokens.

    Layers: n new tokens, t tokens with those in the state. Inputs ``token_ids`` (1, n) int64, ``positions``
    (1, n) int64, ``mask`` (1, 1, n, t) float32, added to the attention scores, ``rows`` (r,) int64, ``batch``
    (1,) int32, always 0. Output ``hidden`` (r, hidden) float32, of the wanted rows, rotated.

    Head: from ``hidden`` to ``log_probabilities`` (r, vocabulary) and their ``entropies`` (r,), float32.
    Apart because it must be computed in float32: in bfloat16 logits come in steps of 1/16 and more, which is
    noise in a log-likelihood and makes ties between tokens.
    """
    builder = _Builder(architecture, weights)
    return builder.layers(), builder.head()


class _Builder:
    def __init__(self, architecture: Architecture, weights: QuantizedWeights) -> None:
        self._a = architecture
        self._weights = weights
        self._sinks: list[Any] = []
        self._batch = _parameter("batch", [1], ov.Type.i32)

    def layers(self) -> ov.Model:
        a = self._a
        token_ids = _parameter("token_ids", [1, -1], ov.Type.i64)
        positions = _parameter("positions", [1, -1], ov.Type.i64)
        mask = _parameter("mask", [1, 1, -1, -1], ov.Type.f32)
        rows = _parameter("rows", [-1], ov.Type.i64)

        embeddings = self._matrix("model.embed_tokens.weight")
        hidden = ops.gather(embeddings, token_ids, _int(0))  # (1, n, hidden)
        rotation = self._rotation(positions)
        for layer in range(a.num_layers):
            hidden = self._layer(f"model.layers.{layer}", hidden, rotation, mask)
        wanted = ops.squeeze(ops.gather(hidden, rows, _int(1)), _ints(0))  # (r, hidden)
        inputs = [token_ids, positions, mask, rows, self._batch]
        return ov.Model([_result("hidden", wanted)], self._sinks, inputs, "layers")

    def head(self) -> ov.Model:
        hidden = _parameter("hidden", [-1, self._a.hidden], ov.Type.f32)
        scaled = ops.multiply(
            _rotated(self._norm(hidden), -1, self._a.hidden),
            ops.constant(self._weights.vector("model.norm.weight")),
        )
        tied = "lm_head.weight" not in self._weights
        logits = self._linear(
            "model.embed_tokens.weight" if tied else "lm_head.weight", _rotated(scaled, -1, self._a.hidden)
        )
        log_probabilities = ops.log_softmax(logits, 1)
        summands = ops.multiply(ops.exp(log_probabilities), log_probabilities)
        entropies = ops.negative(ops.reduce_sum(summands, _ints(1)))
        results = [_result("log_probabilities", log_probabilities), _result("entropies", entropies)]
        return ov.Model(results, [hidden], "head")

    def _layer(self, name: str, hidden: Any, rotation: tuple[Any, Any], mask: Any) -> Any:
        a = self._a
        normed = self._norm(hidden)
        sizes = [a.heads * a.head_dim, a.kv_heads * a.head_dim, a.kv_heads * a.head_dim]
        joined = self._linear(f"{name}.self_attn.qkv", normed)
        query, key, value = ops.variadic_split(joined, _int(2), _ints(*sizes)).outputs()
        query = _rotate(self._heads(query, a.heads), rotation, a.head_dim)
        key = _rotate(self._heads(key, a.kv_heads), rotation, a.head_dim)
        key = self._with_past(f"{name}.key", key)
        value = self._with_past(f"{name}.value", self._heads(value, a.kv_heads))
        attended = self._attend(query, key, value, mask)
        attended = ops.transpose(attended, _ints(0, 2, 1, 3))
        attended = ops.reshape(attended, _ints(0, 0, a.heads * a.head_dim), True)
        hidden = ops.add(hidden, self._linear(f"{name}.self_attn.o_proj.weight", attended))
        normed = self._norm(hidden)
        gate = ops.swish(self._linear(f"{name}.mlp.gate_proj.weight", normed))
        up = self._linear(f"{name}.mlp.up_proj.weight", normed)
        inner = _rotated(ops.multiply(gate, up), 1, -1, a.intermediate)
        return ops.add(hidden, self._linear(f"{name}.mlp.down_proj.weight", inner))

    def _heads(self, joined: Any, count: int) -> Any:
        """(1, n, count × head_dim) → (1, count, n, head_dim)."""
        split = ops.reshape(joined, _ints(0, 0, count, self._a.head_dim), True)
        return ops.transpose(split, _ints(0, 2, 1, 3))

    def _attend(self, query: Any, key: Any, value: Any, mask: Any) -> Any:
        """Attention of (1, heads, n, head_dim) to (1, kv_heads, t, head_dim), with the mask (1, 1, n, t).

        Not the runtime's fused attention: once there is something in the state, that one takes new tokens one
        by one, which makes the second half of a prompt and the check of a draft twice as slow.
        """
        a = self._a
        # query heads that share keys are rows of one product: nothing is repeated
        grouped = ops.reshape(query, _ints(1, a.kv_heads, -1, a.head_dim), False)
        grouped = ops.multiply(grouped, _float(a.head_dim**-0.5))
        scores = ops.matmul(grouped, key, False, True)  # (1, kv_heads, heads / kv_heads × n, t)
        new = ops.gather(ops.shape_of(mask, "i64"), _ints(2), _int(0))
        by_head = ops.concat([_ints(1, a.heads), new, _ints(-1)], 0)
        weights = ops.softmax(ops.add(ops.reshape(scores, by_head, False), mask), 3)
        rows = ops.multiply(new, _ints(a.heads // a.kv_heads))
        weights = ops.reshape(weights, ops.concat([_ints(1, a.kv_heads), rows, _ints(-1)], 0), False)
        return ops.reshape(ops.matmul(weights, value, False, False), by_head, False)

    def _with_past(self, name: str, new: Any) -> Any:
        """Append to a state of shape (1, kv_heads, tokens, head_dim)."""
        a = self._a
        info = VariableInfo()
        info.data_shape = ov.PartialShape([1, a.kv_heads, -1, a.head_dim])
        info.data_type = ov.Type.f32
        info.variable_id = name
        variable = ov.op.util.Variable(info)
        empty = ops.constant(np.zeros((1, a.kv_heads, 0, a.head_dim), np.float32))
        past = ops.gather(ops.read_value(empty, variable), self._batch, _int(0))
        grown = ops.concat([past, new], 2)
        self._sinks.append(ops.assign(grown, variable))
        return grown

    def _rotation(self, positions: Any) -> tuple[Any, Any]:
        """Cosine and sine of rotary embeddings, (1, 1, n, head_dim).

        Looked up, not computed: in bfloat16 the angle of position 1000 would be off by several radians.
        """
        a = self._a
        frequencies = a.rope_theta ** -(np.arange(0, a.head_dim, 2) / a.head_dim)
        angles = np.outer(np.arange(a.context_length), np.concatenate([frequencies, frequencies]))
        tables = (ops.constant(f(angles).astype(np.float32)) for f in (np.cos, np.sin))
        cosine, sine = (ops.unsqueeze(ops.gather(table, positions, _int(0)), _ints(1)) for table in tables)
        return cosine, sine

    def _norm(self, hidden: Any) -> Any:
        """Root-mean-square layer norm; what it multiplies with is in the matrices."""
        squares = ops.power(hidden, _float(2.0))
        mean = ops.reduce_mean(squares, _ints(-1), True)
        scale = ops.divide(_float(1.0), ops.sqrt(ops.add(mean, _float(self._a.epsilon))))
        return ops.multiply(hidden, scale)

    def _linear(self, name: str, hidden: Any) -> Any:
        product = ops.matmul(hidden, self._matrix(name), False, True)
        bias = self._weights.bias(name)
        return product if bias is None else ops.add(product, ops.constant(bias))

    def _matrix(self, name: str) -> Any:
        """An (out, in) matrix: 8-bit integers times one scale per row."""
        integers, scales = self._weights.matrix(name)
        return ops.multiply(ops.convert(_shared(integers), "f32"), ops.constant(scales))


def _rotate(heads: Any, rotation: tuple[Any, Any], head_dim: int) -> Any:
    cosine, sine = rotation
    half = head_dim // 2
    first = ops.slice(heads, _ints(0), _ints(half), _ints(1), _ints(3))
    second = ops.slice(heads, _ints(half), _ints(2**31 - 1), _ints(1), _ints(3))
    turned = ops.concat([ops.multiply(second, _float(-1.0)), first], 3)
    return ops.add(ops.multiply(heads, cosine), ops.multiply(turned, sine))


def _rotated(numbers: Any, *shape: int) -> Any:
    """See `rotation`, over the last dimension of that shape."""
    block = rotation(shape[-1])
    blocks = ops.reshape(numbers, _ints(-1, len(block)), False)
    return ops.reshape(ops.matmul(blocks, ops.constant(block), False, False), _ints(*shape), False)


def _parameter(name: str, shape: list[int], kind: ov.Type) -> Any:
    parameter = ops.parameter(ov.PartialShape(shape), kind, name)
    parameter.get_output_tensor(0).set_names({name})
    return parameter


def _result(name: str, value: Any) -> Any:
    result = ops.result(value)
    result.get_output_tensor(0).set_names({name})
    return result


def _shared(array: NDArray[Any]) -> Any:
    return Constant(array, shared_memory=True)


def _int(value: int) -> Any:
    return ops.constant(np.int64(value))


def _ints(*values: int) -> Any:
    return ops.constant(np.array(values, dtype=np.int64))


def _float(value: float) -> Any:
    return ops.constant(np.float32(value))

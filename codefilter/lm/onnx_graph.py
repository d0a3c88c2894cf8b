"""A decoder-only transformer as an ONNX graph whose matrix products are of 8-bit integers on both sides.

In: the shape and the rotated 8-bit weights of a Llama or Qwen2 model. Out: the graph, and the tensors that it
refers to by name, which are not copied into it.
Notable: every token's activations are rounded to 8 bits by their own largest one, which loses little because
the rotation of `codefilter.quantization` has made them alike. Keys and values are written into buffers of the
caller, behind what these hold: nothing is copied from one pass to the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from codefilter.architecture import Architecture
from codefilter.lm.packing import MAX_PACKED_TOKENS
from codefilter.quantization import QuantizedWeights, rotation

_OPSET = 21
_IR_VERSION = 10
_RUNTIME = "com.microsoft"  # the domain of operations that only this runtime has
_LARGE = 1024  # bytes of a tensor that stands outside the graph
_BAND = 256  # rows that are transposed at once
_ZERO = 128  # the unsigned integer that stands for 0.0

Tensors = dict[str, NDArray[Any]]


def build_graph(
    architecture: Architecture, weights: QuantizedWeights, *, exact: bool = False, signed: bool = False
) -> tuple[bytes, Tensors]:
    """The model as a serialised graph, and its large tensors; `exact`: activations are not rounded.

    `signed`: weights stay signed integers, for a processor with dot products of unsigned and signed bytes
    (VNNI). Without these the runtime cuts sums of two such products to 16 bits, which is wrong.

    Of n new tokens behind p in the buffers, t = p + n, with room for c ≥ t in each buffer:

    Inputs: ``token_ids`` (1, n) int64, ``positions`` (1, n) int64, ``mask`` (1, 1, n, t) float32, added to
    the scores of causal attention, ``last`` (1, 1) int32, t - 1, ``total`` () int32, t, ``rows`` (r,) int64,
    and for every layer i ``past_key.i`` and ``past_value.i`` (1, kv_heads, c, head_dim) float32.

    Outputs: ``key.i`` and ``value.i``, to be bound to the same buffers; for the wanted rows ``hidden``
    (r, hidden) float32, rotated, before the last norm, ``log_probabilities`` (r, vocabulary) float32, and
    ``entropies`` (r,) float32.
    """
    return _Builder(architecture, weights, exact, signed).build()


def build_byte_product(matrix: NDArray[np.int8]) -> bytes:
    """The serialised graph of a product of ``rows`` (n, in) uint8 with a matrix (in, out): (n, out) int32."""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["rows", "matrix"], ["product"])],
        "product",
        [_value("rows", TensorProto.UINT8, ["n", len(matrix)])],
        [_value("product", TensorProto.INT32, ["n", matrix.shape[1]])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    return _serialized(graph)


class _Builder:
    def __init__(
        self, architecture: Architecture, weights: QuantizedWeights, exact: bool, signed: bool
    ) -> None:
        self._a = architecture
        self._weights = weights
        self._exact = exact
        self._matrix_zero = np.int8(0) if signed else np.uint8(_ZERO)
        self._nodes: list[NodeProto] = []
        self._tensors: Tensors = {}

    def build(self) -> tuple[bytes, Tensors]:
        a = self._a
        self._add_tables()
        hidden = self._embedded("token_ids")
        for layer in range(a.num_layers):
            hidden = self._layer(layer, hidden)
        self._op("Gather", [hidden, "rows"], "hidden")
        self._head("hidden")

        cache: list[int | str] = [1, a.kv_heads, "c", a.head_dim]
        buffers = [f"{kind}.{layer}" for layer in range(a.num_layers) for kind in ("key", "value")]
        inputs = [
            _value("token_ids", TensorProto.INT64, [1, "n"]),
            _value("positions", TensorProto.INT64, [1, "n"]),
            _value("mask", TensorProto.FLOAT, [1, 1, "n", "t"]),
            _value("last", TensorProto.INT32, [1, 1]),
            _value("total", TensorProto.INT32, []),
            _value("rows", TensorProto.INT64, ["r"]),
            *(_value(f"past_{buffer}", TensorProto.FLOAT, cache) for buffer in buffers),
        ]
        outputs = [
            _value("hidden", TensorProto.FLOAT, ["r", a.hidden]),
            _value("log_probabilities", TensorProto.FLOAT, ["r", a.vocabulary]),
            _value("entropies", TensorProto.FLOAT, ["r"]),
            *(_value(buffer, TensorProto.FLOAT, cache) for buffer in buffers),
        ]
        large = {name: array for name, array in self._tensors.items() if array.nbytes > _LARGE}
        initializers = [
            _external(name, array) if name in large else numpy_helper.from_array(array, name)
            for name, array in self._tensors.items()
        ]
        graph = helper.make_graph(self._nodes, "decoder", inputs, outputs, initializers)
        return _serialized(graph), large

    def _add_tables(self) -> None:
        """Cosines and sines of rotary embeddings, (positions, head_dim / 2).

        The runtime wants as many positions as there may be tokens in the buffers, those of a pack too.
        """
        a = self._a
        frequencies = a.rope_theta ** -(np.arange(0, a.head_dim, 2) / a.head_dim)
        angles = np.outer(np.arange(a.context_length + MAX_PACKED_TOKENS), frequencies)
        self._tensors["cosines"] = np.cos(angles).astype(np.float32)
        self._tensors["sines"] = np.sin(angles).astype(np.float32)

    def _embedded(self, token_ids: str) -> str:
        """(1, n) → (n, hidden), rotated."""
        integers, scales = self._weights.matrix("model.embed_tokens.weight")
        self._tensors["embeddings"], self._tensors["embedding scales"] = integers, scales
        flat = self._op("Reshape", [token_ids, self._ints(-1)])
        rows = self._op("Cast", [self._op("Gather", ["embeddings", flat])], to=TensorProto.FLOAT)
        return self._op("Mul", [rows, self._op("Gather", ["embedding scales", flat])])

    def _layer(self, index: int, hidden: str) -> str:
        a, name = self._a, f"model.layers.{index}"
        rows = self._rounded(self._normed(hidden))
        joined = self._op("Unsqueeze", [self._product(f"{name}.self_attn.qkv", rows), self._ints(0)])
        attended = self._op(
            "GroupQueryAttention",
            [
                joined,
                "",
                "",
                f"past_key.{index}",
                f"past_value.{index}",
                "last",
                "total",
                "cosines",
                "sines",
                "positions",
                "mask",
            ],
            f"{name}.attended",
            also=[f"key.{index}", f"value.{index}"],
            domain=_RUNTIME,
            num_heads=a.heads,
            kv_num_heads=a.kv_heads,
            do_rotary=1,
        )
        attended = self._op("Squeeze", [attended, self._ints(0)])
        hidden = self._add(hidden, self._product(f"{name}.self_attn.o_proj.weight", self._rounded(attended)))
        rows = self._rounded(self._normed(hidden))
        gate = self._op(
            "QuickGelu", [self._product(f"{name}.mlp.gate_proj.weight", rows)], domain=_RUNTIME, alpha=1.0
        )
        inner = self._op("Mul", [gate, self._product(f"{name}.mlp.up_proj.weight", rows)])
        rows = self._rounded(self._rotated(inner, a.intermediate))
        return self._add(hidden, self._product(f"{name}.mlp.down_proj.weight", rows))

    def _head(self, hidden: str) -> None:
        a = self._a
        norm = self._tensor("norm", self._weights.vector("model.norm.weight"))
        scaled = self._op("Mul", [self._rotated(self._normed(hidden), a.hidden), norm])
        tied = "lm_head.weight" not in self._weights
        name = "model.embed_tokens.weight" if tied else "lm_head.weight"
        logits = self._product(name, self._rounded(self._rotated(scaled, a.hidden)))
        log_probabilities = self._op("LogSoftmax", [logits], "log_probabilities", axis=-1)
        summands = self._op("Mul", [self._op("Exp", [log_probabilities]), log_probabilities])
        self._op("Neg", [self._op("ReduceSum", [summands, self._ints(-1)], keepdims=0)], "entropies")

    def _normed(self, hidden: str) -> str:
        """Root-mean-square layer norm; what it multiplies with is in the matrices."""
        ones = self._tensor("ones", np.ones(self._a.hidden, np.float32))
        return self._op("SimplifiedLayerNormalization", [hidden, ones], axis=-1, epsilon=self._a.epsilon)

    def _rotated(self, numbers: str, size: int) -> str:
        block = rotation(size)
        matrix = self._tensor(f"rotation {len(block)}", block)
        blocks = self._op("Reshape", [numbers, self._ints(-1, len(block))])
        return self._op("Reshape", [self._op("MatMul", [blocks, matrix]), self._ints(-1, size)])

    def _rounded(self, numbers: str) -> tuple[str, str]:
        """Unsigned integers (n, size), and what the numbers that they stand for are multiples of, (n, 1)."""
        if self._exact:
            return numbers, ""
        largest = self._op("ReduceMax", [self._op("Abs", [numbers]), self._ints(-1)], keepdims=0)
        steps = self._op("Mul", [largest, self._tensor("1/127", np.float32(1 / 127))])
        steps = self._op("Max", [steps, self._tensor("tiny", np.float32(1e-20))])
        zero = helper.make_tensor("value", TensorProto.UINT8, [1], [_ZERO])
        zeros = self._op("ConstantOfShape", [self._op("Shape", [steps])], value=zero)
        integers = self._op("QuantizeLinear", [numbers, steps, zeros], axis=0)
        return integers, self._op("Unsqueeze", [steps, self._ints(1)])

    def _product(self, name: str, rows: tuple[str, str]) -> str:
        """(n, in) → (n, out): rounded numbers times a matrix, and its bias."""
        integers, scales = self._weights.matrix(name)
        numbers, steps = rows
        if self._exact:
            matrix = self._tensor(name, np.ascontiguousarray((integers * scales).T))
            product = self._op("MatMul", [numbers, matrix])
        else:
            inputs = [
                numbers,
                self._tensor(name, _transposed(integers, self._matrix_zero)),
                self._tensor("one", np.float32(1)),
                self._tensor(f"{name} scales", scales[:, 0]),
                self._tensor("zero", np.uint8(_ZERO)),
                self._tensor("matrix zero", self._matrix_zero),
            ]
            product = self._op("Mul", [self._op("MatMulIntegerToFloat", inputs, domain=_RUNTIME), steps])
        bias = self._weights.bias(name)
        return product if bias is None else self._add(product, self._tensor(f"{name} bias", bias))

    def _add(self, first: str, second: str) -> str:
        return self._op("Add", [first, second])

    def _ints(self, *values: int) -> str:
        return self._tensor(" ".join(map(str, values)), np.array(values, np.int64))

    def _tensor(self, name: str, array: NDArray[Any] | np.generic) -> str:
        self._tensors.setdefault(name, np.asarray(array))
        return name

    def _op(
        self,
        kind: str,
        inputs: list[str],
        out: str = "",
        also: list[str] | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add an operation; the name of its first output."""
        name = out or f"{kind} {len(self._nodes)}"
        self._nodes.append(
            helper.make_node(kind, inputs, [name, *(also or [])], name, domain=domain, **attributes)
        )
        return name


def _transposed(matrix: NDArray[np.int8], zero: np.int8 | np.uint8) -> NDArray[Any]:
    """A transposed copy of `zero`'s kind, `zero` added to every number.

    Written band by band: numpy's own transposition takes six times as long for a large matrix.
    """
    transposed = np.empty(matrix.shape[::-1], zero.dtype)
    for start in range(0, len(matrix), _BAND):
        band = matrix[start : start + _BAND].T
        # of 8 bits, adding 128 is turning the highest one
        transposed[:, start : start + _BAND] = band.view(zero.dtype) ^ zero
    return transposed


def _serialized(graph: GraphProto) -> bytes:
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_RUNTIME, 1)]
    serialized: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=_IR_VERSION
    ).SerializeToString()
    return serialized


def _value(name: str, kind: int, shape: list[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _external(name: str, array: NDArray[Any]) -> TensorProto:
    """A tensor that the session is given."""
    tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="given to the session")
    return tensor

"""Language models with a cache, as `onnxruntime_genai.models.builder` makes them for the CPU: Llamas of random weights.

The weights depend on the seed alone. Nothing is downloaded, and no PyTorch is needed.
"""

import copy
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import matmul_nbits_quantizer
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

_FLOAT, _INT64 = TensorProto.FLOAT, TensorProto.INT64


@dataclass(frozen=True)
class Shape:
    vocabulary: int = 260
    layers: int = 2
    hidden: int = 64
    heads: int = 4
    kv_heads: int = 2
    inner: int = 96
    context: int = 256
    theta: float = 10_000.0

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


TINY = Shape()
SMOLLM2_135M = Shape(49_152, layers=30, hidden=576, heads=9, kv_heads=3, inner=1536, context=8192, theta=100_000.0)


class _Graph:
    def __init__(self, shape: Shape, seed: int, scale: float) -> None:
        self.shape, self.random, self.scale = shape, np.random.default_rng(seed), scale
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def weight(self, name: str, *size: int) -> str:
        spread = self.scale / np.sqrt(size[0])
        return self.constant(name, (self.random.standard_normal(size, dtype=np.float32) * np.float32(spread)))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs, outputs[0], domain=domain, **attributes))
        return outputs[0]

    def norm(self, name: str, x: str) -> str:
        ones = self.constant(f"{name}.weight", np.ones(self.shape.hidden, np.float32))
        return self.node(
            "SimplifiedLayerNormalization", [x, ones], [f"{name}.out"], axis=-1, epsilon=1e-5, stash_type=1
        )

    def matmul(self, name: str, x: str, n_in: int, n_out: int) -> str:
        return self.node("MatMul", [x, self.weight(f"{name}.weight", n_in, n_out)], [f"{name}.out"])

    def layer(self, n: int, x: str) -> str:
        size = self.shape
        normed, width = self.norm(f"l{n}.in", x), size.kv_heads * size.head_size
        query = self.matmul(f"l{n}.q", normed, size.hidden, size.hidden)
        key = self.matmul(f"l{n}.k", normed, size.hidden, width)
        value = self.matmul(f"l{n}.v", normed, size.hidden, width)
        past = [f"past_key_values.{n}.key", f"past_key_values.{n}.value"]
        attended = self.node(
            "GroupQueryAttention",
            [query, key, value, *past, "seqlens_k", "total", "cos", "sin"],
            [f"l{n}.attended", f"present.{n}.key", f"present.{n}.value"],
            domain="com.microsoft",
            num_heads=size.heads,
            kv_num_heads=size.kv_heads,
            do_rotary=1,
        )  # fmt: skip
        x = self.node("Add", [x, self.matmul(f"l{n}.o", attended, size.hidden, size.hidden)], [f"l{n}.mid"])
        normed = self.norm(f"l{n}.post", x)
        gate = self.matmul(f"l{n}.gate", normed, size.hidden, size.inner)
        up = self.matmul(f"l{n}.up", normed, size.hidden, size.inner)
        sigmoid = self.node("Sigmoid", [gate], [f"l{n}.sigmoid"])
        active = self.node("Mul", [self.node("Mul", [gate, sigmoid], [f"l{n}.silu"]), up], [f"l{n}.active"])
        down = self.matmul(f"l{n}.down", active, size.inner, size.hidden)
        return self.node("Add", [x, down], [f"l{n}.out"])


def llama(shape: Shape = TINY, *, seed: int = 0, scale: float = 1.0) -> ModelProto:
    """scale: of the weights. With a larger one the probabilities are further apart."""
    graph = _Graph(shape, seed, scale)
    positions = np.arange(shape.context, dtype=np.float64)[:, None]
    turns = positions / shape.theta ** (np.arange(0, shape.head_size, 2) / shape.head_size)
    graph.constant("cos", np.cos(turns).astype(np.float32))
    graph.constant("sin", np.sin(turns).astype(np.float32))
    graph.constant("one", np.array([1], np.int64))
    graph.constant("scalar_one", np.array(1, np.int64))
    sums = graph.node("ReduceSum", ["attention_mask", "one"], ["mask.sum"], keepdims=0)
    less = graph.node("Sub", [sums, "one"], ["mask.less"])
    graph.node("Cast", [less], ["seqlens_k"], to=TensorProto.INT32)
    mask_shape = graph.node("Shape", ["attention_mask"], ["mask.shape"])
    width = graph.node("Gather", [mask_shape, "scalar_one"], ["mask.width"], axis=0)
    graph.node("Cast", [width], ["total"], to=TensorProto.INT32)
    x = graph.node("Gather", [graph.weight("embedding", shape.vocabulary, shape.hidden), "input_ids"], ["embedded"])
    for n in range(shape.layers):
        x = graph.layer(n, x)
    normed = graph.norm("final", x)
    graph.node("MatMul", [normed, graph.weight("head", shape.hidden, shape.vocabulary)], ["logits"])
    past = ["batch_size", shape.kv_heads, "past_sequence_length", shape.head_size]
    present = ["batch_size", shape.kv_heads, "total_sequence_length", shape.head_size]
    names = [f"{n}.{part}" for n in range(shape.layers) for part in ("key", "value")]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "llama",
            [
                helper.make_tensor_value_info("input_ids", _INT64, ["batch_size", "sequence_length"]),
                helper.make_tensor_value_info("attention_mask", _INT64, ["batch_size", "total_sequence_length"]),
                *(helper.make_tensor_value_info(f"past_key_values.{name}", _FLOAT, past) for name in names),
            ],
            [
                helper.make_tensor_value_info("logits", _FLOAT, ["batch_size", "sequence_length", shape.vocabulary]),
                *(helper.make_tensor_value_info(f"present.{name}", _FLOAT, present) for name in names),
            ],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)],
    )
    model.ir_version = 10
    return model


def quantized(model: ModelProto, bits: int) -> ModelProto:
    """The weights of its MatMul in blocks of 32, as the builder writes them for int8 and int4."""
    logging.getLogger(matmul_nbits_quantizer.__name__).setLevel(logging.WARNING)
    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=True, accuracy_level=4, bits=bits)
    quantizer = MatMulNBitsQuantizer(copy.deepcopy(model), algo_config=config)
    quantizer.process()
    return quantizer.model.model


def depending_on_company(model: ModelProto, *, only_alone: bool) -> ModelProto:
    """The same model, but a row's logits depend on the rows beside it. only_alone: they are others in a run of a single
    row, as with kernels for one row, and equal in all other runs."""
    model = copy.deepcopy(model)
    nodes = model.graph.node
    next(node for node in nodes if node.output[0] == "logits").output[0] = "pure"
    two = numpy_helper.from_array(np.array([2], np.int64), "two")
    model.graph.initializer.extend([two, numpy_helper.from_array(np.array([0], np.int64), "zero")])
    if only_alone:
        nodes.extend(
            [
                helper.make_node("Shape", ["pure"], ["n_rows"], start=0, end=1),
                helper.make_node("Less", ["n_rows", "two"], ["is_alone"]),
                helper.make_node("Cast", ["is_alone"], ["more"], to=_FLOAT),
            ]
        )
    else:
        nodes.append(helper.make_node("ReduceMax", ["pure", "zero"], ["more"], keepdims=1))
    nodes.append(helper.make_node("Add", ["pure", "more"], ["logits"]))
    return model

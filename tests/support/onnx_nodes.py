"""The node tests of ONNX itself: a model of one operator each, with inputs and what comes out of them."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from onnx import TensorProto, ValueInfoProto, numpy_helper
from onnx.backend.test.case import node
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_node_model_tests
from onnx.backend.test.runner import Runner

from tests.support.onnx_tensors import ONNX_TYPES, Array, numpy_type

_BFLOAT16 = TensorProto.BFLOAT16


class NodeTest(msgspec.Struct, frozen=True, eq=False):
    """inputs, expected: arrays, or whatever else an operator takes: a sequence, nothing. types: of both, where they are
    no tensors that jobs carry, as ONNX Runtime writes them."""

    name: str
    model: bytes
    inputs: dict[str, Any]
    outputs: tuple[str, ...]
    expected: list[Any]
    is_carried: bool
    tolerances: tuple[float, float]

    def check(self, outputs: Sequence[Any]) -> None:
        """AssertionError if they are not those expected."""
        rtol, atol = self.tolerances
        Runner.assert_similar_outputs(self.expected, outputs, rtol=rtol, atol=atol)


def node_tests(operators: Sequence[str] = ()) -> list[NodeTest]:
    """operators: modules of `onnx.backend.test.case.node`; all of them if none is named, which takes 20 seconds."""
    if not operators:
        return list(map(_of, load_node_model_tests()))
    for operator in operators:
        # A module registers its tests when it is imported.
        import_module(f"{node.__name__}.{operator}")
    # Another test may have imported more of them.
    names = tuple(f"test_{operator}" for operator in operators)
    return [_of(case) for case in node._NodeTestCases if case.name.startswith(names)]


def run_in_process(test: NodeTest) -> list[Any]:
    """With ONNX Runtime alone. It raises many classes for a model that it cannot run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(test.model, options, providers=["CPUExecutionProvider"])
    bfloat16 = numpy_type("bfloat16")
    if not any(getattr(array, "dtype", None) == bfloat16 for array in (*test.inputs.values(), *test.expected)):
        return list(session.run(list(test.outputs), test.inputs))
    # numpy has no bfloat16, and ONNX Runtime does not take that of ml_dtypes.
    value = onnxruntime.OrtValue
    feed = {
        name: value.ortvalue_from_numpy_with_onnx_type(np.array(array.view(np.uint16)), _BFLOAT16)
        if array.dtype == bfloat16
        else value.ortvalue_from_numpy(np.array(array))
        for name, array in test.inputs.items()
    }
    return [_array(output) for output in session.run_with_ort_values(list(test.outputs), feed)]


def _array(value: Any) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        return np.asarray(value.numpy())
    shape = value.shape()
    copy = np.empty(shape, dtype=np.uint16)
    onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(copy, _BFLOAT16).update_inplace(value)
    return copy.view(numpy_type("bfloat16"))


def _of(case: TestCase) -> NodeTest:
    assert case.model is not None
    assert case.data_sets is not None
    [(inputs, expected)] = case.data_sets
    graph = case.model.graph
    return NodeTest(
        name=case.name,
        model=case.model.SerializeToString(),
        inputs=dict(zip((info.name for info in graph.input), map(_value, inputs), strict=True)),
        outputs=tuple(info.name for info in graph.output),
        expected=[_value(each) for each in expected],
        is_carried=all(map(_is_carried, (*graph.input, *graph.output))),
        tolerances=(case.rtol, case.atol),
    )


def _value(value: Any) -> Any:
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    # ONNX Runtime does not take the scalars of numpy.
    return np.asarray(value) if isinstance(value, np.generic) else value


def _is_carried(info: ValueInfoProto) -> bool:
    return info.type.HasField("tensor_type") and info.type.tensor_type.elem_type in ONNX_TYPES

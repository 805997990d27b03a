#!/usr/bin/env bash
# ONNX Runtime adds whole numbers in floating point: ReduceSum, ReduceMean and ReduceProd round them and stop at the end.
# Seen 2026-11-29 with onnxruntime 1.31.1 on the CPU: ReduceSum over int64 (2^53 + 1, 0) is 2^53; ReduceMean of four times
# 2^53 + 1 is 2^53; ReduceSum over int32 (2^31 - 1, 1) is 2^31 - 1, where numpy, torch and ONNX Runtime's own CumSum wrap around.
# So sums over ids, hashes or nanoseconds inside a graph are not those of the framework that the graph came from.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

onnxruntime.set_default_logger_severity(4)


def run(op, x, rank=1, to=None, **attributes):
    """The one output, of so many dimensions, of a graph of one node, on the CPU."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    source = helper.make_tensor_value_info("x", kind, [None] * x.ndim)
    target = helper.make_tensor_value_info("y", to or kind, [None] * rank)
    node = helper.make_node(op, ["x"], ["y"], **attributes)
    graph = helper.make_graph([node], "g", [source], [target])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


big = 2**53 + 1


def reduce_sum(x):
    value = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), [None])
    graph = helper.make_graph([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], "g", [value], [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return int(onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0])


seen = {
    "ReduceSum int64 (2^53 + 1, 0)": reduce_sum(np.array([big, 0], np.int64)),
    "ReduceMean int64 of 4 x (2^53 + 1)": int(run("ReduceMean", np.array([big] * 4, np.int64), rank=0, keepdims=0)),
    "ReduceSum int32 (2^31 - 1, 1)": reduce_sum(np.array([2**31 - 1, 1], np.int32)),
    "ReduceProd int32 (2^20, 2^12)": int(run("ReduceProd", np.array([2**20, 2**12], np.int32), rank=0, keepdims=0)),
}
print("onnxruntime", onnxruntime.__version__)
for name, value in seen.items():
    print(f"{name}: {value}")
sys.exit(0 if list(seen.values()) == [2**53, 2**53, 2**31 - 1, 2**31 - 1] else 1)
PY

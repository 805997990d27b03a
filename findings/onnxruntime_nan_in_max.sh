#!/usr/bin/env bash
# ONNX Runtime's ArgMax and ReduceMax let a NaN win only where it stands first in its row.
# Seen 2026-11-29 with onnxruntime 1.31.1 on the CPU: the row (1, NaN, 3, 2) has the largest value 3 at place 2; the row
# (NaN, 1, 3, 2), the same values in another order, has the largest value NaN at place 0. numpy and the reference
# evaluator of onnx say NaN for both. TopK gives 1 and NaN as the two largest of the first row and leaves 3 out.
# So a classifier whose logits hold a NaN still names a class, and which one depends on the order of the labels.
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


def top2(x):
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])
    outputs = [helper.make_tensor_value_info("v", TensorProto.FLOAT, None), helper.make_tensor_value_info("i", TensorProto.INT64, None)]
    k = helper.make_tensor("k", TensorProto.INT64, [1], [2])
    graph = helper.make_graph([helper.make_node("TopK", ["x", "k"], ["v", "i"], axis=0)], "g", [source], outputs, [k])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})


inside = np.array([[1, np.nan, 3, 2]], np.float32)
first = np.array([[np.nan, 1, 3, 2]], np.float32)
seen = {
    "ArgMax, NaN inside": run("ArgMax", inside, to=TensorProto.INT64, axis=1, keepdims=0).tolist(),
    "ArgMax, NaN first": run("ArgMax", first, to=TensorProto.INT64, axis=1, keepdims=0).tolist(),
    "ReduceMax, NaN inside": run("ReduceMax", inside, axes=[1], keepdims=0).tolist(),
    "ReduceMax, NaN first": run("ReduceMax", first, axes=[1], keepdims=0).tolist(),
    "TopK 2, NaN inside": top2(inside[0])[0].tolist(),
}
print("onnxruntime", onnxruntime.__version__)
for name, value in seen.items():
    print(f"{name}: {value}")
expected = "[[2], [0], [3.0], [nan], [1.0, nan]]"
sys.exit(0 if str(list(seen.values())) == expected else 1)
PY

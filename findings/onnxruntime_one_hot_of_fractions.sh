#!/usr/bin/env bash
# ONNX Runtime's OneHotEncoder with whole-number categories takes a fraction for the category below it.
# Seen 2026-11-29 with onnxruntime 1.31.1 on the CPU: with cats_int64s (1, 2) and zeros=1 (an unknown value is all zeros), 1.7
# is encoded as 1 and 2.2 as 2. The reference evaluator of onnx gives zeros for both. A half-filled or averaged code is so
# answered as if it were a known one.
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


source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])
target = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])
node = helper.make_node("OneHotEncoder", ["x"], ["y"], domain="ai.onnx.ml", cats_int64s=[1, 2], zeros=1)
graph = helper.make_graph([node], "g", [source], [target])
opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
onnx.checker.check_model(model)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
seen = session.run(None, {"x": np.array([1.0, 1.7, 2.2, 3.0], np.float32)})[0].tolist()
print("onnxruntime", onnxruntime.__version__)
print(seen)
sys.exit(0 if seen == [[1, 0], [1, 0], [0, 1], [0, 0]] else 1)
PY

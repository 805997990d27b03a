#!/usr/bin/env bash
# ONNX Runtime's ReduceMean over no elements is 0, not NaN.
# Seen 2026-11-29 with onnxruntime 1.31.1 on the CPU: ReduceMean of an empty float32 axis is 0.0; numpy, torch and the
# reference evaluator of onnx give NaN. Mean pooling over an empty text is a zero vector that looks like an answer.
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


x = np.zeros((2, 0), np.float32)
seen = run("ReduceMean", x, axes=[1], keepdims=0).tolist()
print("onnxruntime", onnxruntime.__version__)
print("mean of two empty rows:", seen)
sys.exit(0 if seen == [0.0, 0.0] else 1)
PY

#!/usr/bin/env bash
# ONNX Runtime's Cast from text to float reads as far as it can and forgets the rest of the text.
# Seen 2026-11-29 with onnxruntime 1.31.1 on the CPU: "1,5" becomes 1, "12abc" 12, "1_000" 1 and "0x10" 16, without an
# error. The reference evaluator of onnx, which uses Python's float, refuses "1,5", "12abc" and "0x10" and reads 1000.
# So a table with decimal commas that is given to a graph as text is answered with numbers that nobody wrote.
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


texts = ["1,5", "12abc", "1_000", "0x10", "2.5 kg"]
source = helper.make_tensor_value_info("x", TensorProto.STRING, [None])
target = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], "g", [source], [target])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
seen = session.run(None, {"x": np.array(texts, dtype=object)})[0].tolist()
print("onnxruntime", onnxruntime.__version__)
for text, value in zip(texts, seen):
    print(f"{text!r} -> {value}")
sys.exit(0 if seen == [1.0, 12.0, 1.0, 16.0, 2.5] else 1)
PY

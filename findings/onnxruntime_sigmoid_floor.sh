#!/usr/bin/env bash
# ONNX Runtime's Sigmoid is exactly 0 from -18 downwards, where float32 has numbers down to 1e-45.
# Seen 2026-11-29 with onnxruntime 1.31.1 on the CPU: sigmoid(-18) is 0.0, and the true value is 1.5e-8; it also falls and rises again, since sigmoid(-17) is larger
# than sigmoid(-16). Its logarithm, a usual next step, is then -inf, and a ranking by probability has ties
# where torch has none.
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


points = np.array([-16, -17, -18, -20, -40], np.float32)
seen = run("Sigmoid", points)
true = 1 / (1 + np.exp(-points.astype(np.float64)))
print("onnxruntime", onnxruntime.__version__)
for x, got, want in zip(points, seen, true):
    print(f"sigmoid({x:g}): {got:.3g}, the true value is {want:.3g}")
sys.exit(0 if (seen[2:] == 0).all() and (seen[:2] > 0).all() and seen[1] > seen[0] else 1)
PY

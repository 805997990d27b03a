#!/usr/bin/env bash
# onnx's version converter shifts every image that a Resize or Upsample of opset 9 or 10 enlarges.
# Seen 2026-11-29 with onnx 1.23.2, onnxruntime 1.31.1: before opset 11 linear resizing maps coordinates as 'asymmetric'; the converted node has no
# coordinate_transformation_mode and so takes 'half_pixel', the default of 11. The row (0, 1) doubled is (0, 0.5, 1, 1) before and
# (0, 0.25, 0.75, 1) after. Nothing is said.
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
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)


def model_of(nodes, shape, out_shape, opset=17, ir=9, **constants):
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, out_shape)
    weights = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [source], [target], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(model)
    return model


def run(model, *inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(None, {"x": x})[0] for x in inputs]


from onnx import version_converter

x = np.array([[[[0.0, 1.0]]]], np.float32)
rows = {}
for op, opset in (("Upsample", 9), ("Resize", 10)):
    old = model_of([helper.make_node(op, ["x", "s"], ["y"], mode="linear")], [1, 1, 1, 2], [1, 1, 1, 4], opset=opset, ir=5, s=[1, 1, 1, 2])
    rows[op] = run(old, x)[0].ravel().tolist(), run(version_converter.convert_version(old, 11), x)[0].ravel().tolist()
    print(f"{op}: {rows[op][0]} at opset {opset}, {rows[op][1]} at 11")
expected = [0, 0.5, 1, 1], [0, 0.25, 0.75, 1]
sys.exit(0 if all(tuple(pair) == expected for pair in rows.values()) else 1)
PY

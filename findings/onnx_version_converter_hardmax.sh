#!/usr/bin/env bash
# onnx's version converter brings Softmax from opset 11 to 13 unchanged in meaning, and Hardmax not.
# Seen 2026-11-29 with onnx 1.23.2, onnxruntime 1.31.1: up to opset 12 both work on all dimensions from axis on, from 13 on along axis alone. The
# converter flattens and restores around Softmax and LogSoftmax; Hardmax with its default axis on (2, 3, 4) gives 2 ones before and 6
# ones after. The checker accepts both.
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

x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
ones = {}
for op in ("Softmax", "Hardmax"):
    old = model_of([helper.make_node(op, ["x"], ["y"])], [2, 3, 4], [2, 3, 4], opset=11, ir=6)
    new = version_converter.convert_version(old, 13)
    before, after = run(old, x)[0], run(new, x)[0]
    ones[op] = float(before.sum()), float(after.sum())
    print(f"{op}: sum {before.sum():.3f} at opset 11, {after.sum():.3f} at 13, largest difference {np.abs(before - after).max():.3g}")
sys.exit(0 if abs(ones["Softmax"][0] - ones["Softmax"][1]) < 1e-5 and ones["Hardmax"] == (2.0, 6.0) else 1)
PY

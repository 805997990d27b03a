#!/usr/bin/env bash
# convert_float_to_float16 cuts weights at 10,000 and lifts small ones to 1e-7, though float16 reaches from 6e-8 to 65,504.
# Seen 2026-11-29 with onnxconverter-common 1.16.0, onnxruntime 1.31.1: a weight of 20,000, which float16 holds exactly, becomes 10,000; one of 1e-9
# becomes 1.2e-7, a hundred times as much, where rounding would give 0. Both only with a Python warning. max_finite_val and
# min_positive_val change the bounds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6 onnxconverter-common==1.16.0
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


from onnxconverter_common import float16

x = np.array([[1.0]], np.float32)
seen = {}
for weight in (20_000.0, 5_000.0, 1e-9):
    model = model_of([helper.make_node("Mul", ["x", "w"], ["y"])], [None, 1], [None, 1], w=[weight])
    seen[weight] = float(run(float16.convert_float_to_float16(model, keep_io_types=True), x)[0][0, 0])
    print(f"1 x {weight:g} is {float(np.float16(weight)):g} in float16 and served as {seen[weight]:g}")
sys.exit(0 if seen[20_000.0] == 10_000 and seen[5_000.0] == 5_000 and 1e-7 < seen[1e-9] < 2e-7 else 1)
PY

#!/usr/bin/env bash
# A model from quantize_dynamic answers a row differently in other company: the scale is that of the whole batch.
# Seen 2026-11-29 with onnxruntime 1.31.1: DynamicQuantizeLinear takes one scale from all rows of its input. A row beside one with values 100 times as large loses nearly
# all of its digits; alone it is answered well. A server that batches requests so lets one user's input spoil another's answer, and no
# answer can be repeated. The float model gives equal answers alone and in company.
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


from onnxruntime.quantization import quantize_dynamic

rng = np.random.default_rng(0)
weights = rng.normal(size=(64, 8)).astype(np.float32)
onnx.save(model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [None, 64], [None, 8], w=weights), "float.onnx")
quantize_dynamic("float.onnx", "int8.onnx")
row, loud = rng.normal(size=(1, 64)).astype(np.float32), 100 * rng.normal(size=(1, 64)).astype(np.float32)
error = {}
for name in ("float", "int8"):
    alone, beside = run(onnx.load(f"{name}.onnx"), row, np.vstack([row, loud]))
    error[name] = [float(np.abs(got[0] - row[0] @ weights).mean() / np.abs(row[0] @ weights).mean()) for got in (alone, beside)]
    print(f"{name}: relative error alone {error[name][0]:.4f}, beside a row 100 times as large {error[name][1]:.4f}")
sys.exit(0 if max(error["float"]) < 1e-5 and error["int8"][0] < 0.05 and error["int8"][1] > 0.2 else 1)
PY

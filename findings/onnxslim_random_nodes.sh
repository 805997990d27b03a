#!/usr/bin/env bash
# onnxslim folds random nodes into constants: each run draws the same numbers.
# Seen 2026-11-29 with onnxslim 0.1.98, onnxruntime 1.31.1: RandomNormal and RandomUniform without a seed are gone from the slimmed graph, and two runs
# of one session, different before, are the same after. Sampling layers and noise are so frozen at the moment of slimming. onnxsim
# and onnxoptimizer keep such nodes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6 onnxslim==0.1.98
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


import onnxslim

x = np.zeros((1, 4), np.float32)
is_frozen = {}
for op in ("RandomNormal", "RandomUniform"):
    model = model_of([helper.make_node(op, [], ["r"], shape=[1, 4]), helper.make_node("Add", ["x", "r"], ["y"])], [1, 4], [1, 4])
    first, second = run(model, x, x)
    slim = onnxslim.slim(onnx.ModelProto.FromString(model.SerializeToString()))
    again, same = run(slim, x, x)
    is_frozen[op] = bool((first != second).any()), bool((again == same).all())
    print(f"{op}: two runs differ before: {is_frozen[op][0]}, are the same after: {is_frozen[op][1]}", [node.op_type for node in slim.graph.node])
sys.exit(0 if set(is_frozen.values()) == {(True, True)} else 1)
PY

#!/usr/bin/env bash
# onnxoptimizer drops the first of two Reshapes although the second one copies a dimension of it.
# Seen 2026-11-30 with onnxoptimizer 0.4.2, onnxruntime 1.31.1: a 0 in the shape of a Reshape takes the dimension of its input. The default pass
# eliminate_consecutive_idempotent_ops gives the second Reshape the input of the first one, so the 0 takes another dimension. The
# checker accepts both graphs. ONNX's own expansion of GroupNormalization has such a pair, and its values are wrong after the pass.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6 onnxoptimizer==0.4.2
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)


def run(model, *inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(None, {"x": x})[0] for x in inputs]


import onnxoptimizer

# y = Reshape(Reshape(x, [3, 2, 4]), [0, -1]): the 0 takes the first dimension of the inner one, which is 3.
nodes = [helper.make_node("Reshape", ["x", "inner"], ["h"]), helper.make_node("Reshape", ["h", "outer"], ["r"]),
         helper.make_node("ReduceSum", ["r", "axis"], ["y"], keepdims=0)]
source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])
target = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
shapes = {"inner": [3, 2, 4], "outer": [0, -1], "axis": [1]}
numbers = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in shapes.items()]
graph = helper.make_graph(nodes, "g", [source], [target], numbers)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.checker.check_model(model, full_check=True)

x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
optimized = onnxoptimizer.optimize(model)
[before], [after] = run(model, x), run(optimized, x)
print("before", before.tolist(), [node.op_type for node in model.graph.node])
print("after ", after.tolist(), [node.op_type for node in optimized.graph.node])
sys.exit(0 if before.tolist() == [28, 92, 156] and after.tolist() == [66, 210] else 1)
PY

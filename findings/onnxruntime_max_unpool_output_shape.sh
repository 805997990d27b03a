#!/usr/bin/env bash
# ONNX Runtime's MaxUnpool with output_shape reads its indices as places in the larger output.
# Seen 2026-11-30 with onnxruntime 1.31.1 and onnx 1.23.2. ONNX says that the indices are places in the output that kernel
# and strides give (4 x 4 here), which output_shape (5 x 5) then pads. The reference evaluator of onnx puts the value 5 of
# index 5 into row 1, column 1; ONNX Runtime into row 1, column 0, as it counts by rows of 5. So all values behind the
# first row move. onnx's own node test of this case fails in ONNX Runtime.
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
from onnx.reference import ReferenceEvaluator

onnxruntime.set_default_logger_severity(4)
inputs = [
    helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 2]),
    helper.make_tensor_value_info("i", TensorProto.INT64, [1, 1, 2, 2]),
    helper.make_tensor_value_info("shape", TensorProto.INT64, [4]),
]
output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)
node = helper.make_node("MaxUnpool", ["x", "i", "shape"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
graph = helper.make_graph([node], "g", inputs, [output])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=10)
onnx.checker.check_model(model)
feeds = {
    "x": np.array([[[[5, 6], [7, 8]]]], np.float32),
    "i": np.array([[[[5, 7], [13, 15]]]], np.int64),
    "shape": np.array([1, 1, 5, 5], np.int64),
}
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
answers = {"onnxruntime": session.run(None, feeds)[0], "reference": ReferenceEvaluator(model).run(None, feeds)[0]}
seen = {}
print("onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)
for name, answer in answers.items():
    seen[name] = [(int(r), int(c), float(answer[0, 0, r, c])) for r, c in np.argwhere(answer[0, 0])]
    print(f"{name}: {answer.shape}, (row, column, value): {seen[name]}")
expected = {
    "onnxruntime": [(1, 0, 5.0), (1, 2, 6.0), (2, 3, 7.0), (3, 0, 8.0)],
    "reference": [(1, 1, 5.0), (1, 3, 6.0), (3, 1, 7.0), (3, 3, 8.0)],
}
sys.exit(0 if seen == expected else 1)
PY

#!/usr/bin/env bash
# ONNX Runtime's Resize with scales and align_corners maps the corners of the rounded output, ONNX those of the exact size.
# Seen 2026-11-30 with onnxruntime 1.31.1 and onnx 1.23.2: the row (1, 2, 3, 4) scaled by 0.6 has 2 values, of 2.4.
# ONNX Runtime answers 1 and 4, the reference evaluator of onnx 1 and 3.142857 (2.142857 = 3 / (2.4 - 1)). With sizes in place
# of scales both answer 1 and 4. So an image model that is checked against the reference moves by pixels in ONNX Runtime;
# onnx's own node tests of this case fail there.
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
x = np.array([[[[1, 2, 3, 4]]]], np.float32)


def answers(**given):
    """The output of one Resize by ONNX Runtime, and by the reference evaluator."""
    names = ["x", "", "scales" if "scales" in given else "", "sizes" if "sizes" in given else ""]
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in given.items()]
    mode = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    node = helper.make_node("Resize", names if "sizes" in given else names[:3], ["y"], **mode)
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 4])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 2])
    graph = helper.make_graph([node], "g", [source], [target], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    by_reference = ReferenceEvaluator(model).run(None, {"x": x})[0]
    return [np.round(each.ravel(), 4).tolist() for each in (session.run(None, {"x": x})[0], by_reference)]


seen = {
    "scales (1, 1, 1, 0.6)": answers(scales=np.array([1, 1, 1, 0.6], np.float32)),
    "sizes (1, 1, 1, 2)": answers(sizes=np.array([1, 1, 1, 2], np.int64)),
}
print("onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)
for name, (by_runtime, by_reference) in seen.items():
    print(f"{name}: onnxruntime {by_runtime}, reference {by_reference}")
rounded = [[round(value, 2) for value in row] for rows in seen.values() for row in rows]
sys.exit(0 if rounded == [[1.0, 4.0], [1.0, 3.14], [1.0, 4.0], [1.0, 4.0]] else 1)
PY

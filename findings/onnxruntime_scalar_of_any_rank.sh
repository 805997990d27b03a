#!/usr/bin/env bash
# ONNX Runtime takes an array of any rank for an input that is declared as a scalar.
# Seen 2026-11-30 with onnxruntime 1.31.1: an Identity model that declares x and y as scalars takes an array of 2 x 3 and
# answers with 2 x 3; the log has a warning, the caller nothing. One that declares a vector refuses it, InvalidArgument.
# And run() refuses numpy's own scalars, np.float32(3) or what x[0] of a vector is, until np.asarray wraps them.
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


def session(shape):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def answer(shape, x):
    try:
        return session(shape).run(None, {"x": x})[0].shape
    except Exception as error:
        return type(error).__name__


matrix = np.zeros((2, 3), np.float32)
seen = {
    "shape shown for a scalar": session([]).get_inputs()[0].shape,
    "2 x 3 for a scalar": answer([], matrix),
    "2 x 3 for a vector": answer([None], matrix),
    "np.float32(3) for a scalar": answer([], np.float32(3)),
    "np.asarray(np.float32(3)) for a scalar": answer([], np.asarray(np.float32(3))),
}
print("onnxruntime", onnxruntime.__version__)
for name, value in seen.items():
    print(f"{name}: {value}")
expected = [[], (2, 3), "InvalidArgument", "RuntimeError", ()]
sys.exit(0 if list(seen.values()) == expected else 1)
PY

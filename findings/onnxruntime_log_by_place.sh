#!/usr/bin/env bash
# The logarithm of a number depends on its place in the tensor: the end of a tensor is computed by other code than the rest.
# Seen 2026-11-30 with onnxruntime 1.31.1 on the CPU (x86-64): Log takes numbers in vectors, and what does not fill the last vector one by
# one, with a result that is sometimes one bit off. So the same row of a batch has another answer as the last row than as the first, and a
# batch of 5 rows with 3 numbers other answers than the 5 rows alone. Exp and Tanh, which have code of their own, do not do so.
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


def session_of(op):
    """One node over float32 [n, 3], on the CPU with one thread."""
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", shapes[:1], shapes[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


rows = np.random.default_rng(0).uniform(0.1, 10.0, (4000, 3)).astype(np.float32)
different = {}
for op in ("Log", "Exp", "Tanh"):
    session = session_of(op)
    together = session.run(None, {"x": rows})[0]
    alone = np.vstack([session.run(None, {"x": row[np.newaxis]})[0] for row in rows])
    different[op] = int((alone != together).any(axis=1).sum())
    print(f"{op}: {different[op]} of {len(rows)} rows have other bits alone than in one batch")
sys.exit(0 if different["Log"] > 0 and different["Exp"] == different["Tanh"] == 0 else 1)
PY

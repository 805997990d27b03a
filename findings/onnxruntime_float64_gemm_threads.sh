#!/usr/bin/env bash
# A float64 matrix product has other bits in batches of 4 to 48 rows than in smaller and larger ones, but only with several threads.
# Seen 2026-11-30 with onnxruntime 1.31.1 on the CPU (x86-64): with intra_op_num_threads=1, Gemm over float64 [n, 256] gives each row the
# same bits at every n. With 2 threads and with 4, batches of 4 to 48 rows give other bits than batches of 1, 3, 64 and 128. A float32
# product of the same size has the same bits throughout. So a number of threads chosen for speed changes what a server answers under load.
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
random = np.random.default_rng(0)
weights, rows = random.standard_normal((256, 64)) / 16, random.standard_normal((128, 256))


def classes(dtype, threads):
    """The sizes of batches, in groups that give the first row the same bits."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    source = helper.make_tensor_value_info("x", kind, [None, 256])
    target = helper.make_tensor_value_info("y", kind, [None, 64])
    constants = [numpy_helper.from_array(weights.astype(dtype), "w")]
    graph = helper.make_graph([helper.make_node("Gemm", ["x", "w"], ["y"])], "g", [source], [target], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = {}
    for n in (1, 3, 4, 16, 48, 64, 128):
        found.setdefault(session.run(None, {"x": rows[:n].astype(dtype)})[0][0].tobytes(), []).append(n)
    return list(found.values())


seen = {(dtype, threads): classes(dtype, threads) for dtype in ("float32", "float64") for threads in (1, 2, 4)}
for (dtype, threads), sizes in seen.items():
    print(f"{dtype}, {threads} threads: batches with the same bits: {sizes}")
same, different = [[1, 3, 4, 16, 48, 64, 128]], [[1, 3, 64, 128], [4, 16, 48]]
expected = {key: different if key[0] == "float64" and key[1] > 1 else same for key in seen}
sys.exit(0 if seen == expected else 1)
PY

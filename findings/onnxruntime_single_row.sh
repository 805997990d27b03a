#!/usr/bin/env bash
# One row has other bits alone than in a batch, with MatMulNBits, with Einsum and with ReduceMean over an inner axis.
# Seen 2026-11-30 with onnxruntime 1.31.1 on the CPU (x86-64), one thread: each of them has other code for a batch of one, which adds in
# another order; from two rows up, a row has the same bits in every batch. Gemm, MatMul and Conv in float32 have the same bits for one row
# too. So whether an answer repeats depends on how many requests a server happened to join, and on an operator that an exporter chose.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)
random = np.random.default_rng(0)


def floats(*shape):
    return (random.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32)


def classes(node, shape, rank, **constants):
    """The sizes of batches, in groups that give the first row the same bits."""
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, *shape])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "g", [source], [target], weights), opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rows, found = random.standard_normal((64, *shape)).astype(np.float32), {}
    for n in (1, 2, 3, 8, 17, 64):
        found.setdefault(session.run(None, {"x": rows[:n]})[0][0].tobytes(), []).append(n)
    return list(found.values())


int4 = {"w": random.integers(0, 256, (64, 8, 16)).astype(np.uint8), "s": floats(64 * 8)}
nbits = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=256, N=64, bits=4, block_size=32)
seen = {
    "MatMulNBits": classes(nbits, (256,), 2, **int4),
    "Einsum": classes(helper.make_node("Einsum", ["x", "w"], ["y"], equation="ni,ij->nj"), (256,), 2, w=floats(256, 64)),
    "ReduceMean": classes(helper.make_node("ReduceMean", ["x", "a"], ["y"], keepdims=0), (33, 7), 2, a=np.array([1])),
    "MatMul": classes(helper.make_node("MatMul", ["x", "w"], ["y"]), (256,), 2, w=floats(256, 64)),
    "Gemm": classes(helper.make_node("Gemm", ["x", "w"], ["y"]), (256,), 2, w=floats(256, 64)),
    "Conv": classes(helper.make_node("Conv", ["x", "w"], ["y"]), (3, 16, 16), 4, w=floats(8, 3, 3, 3)),
}
for op, sizes in seen.items():
    print(f"{op}: batches with the same bits: {sizes}")
apart, same = [[1], [2, 3, 8, 17, 64]], [[1, 2, 3, 8, 17, 64]]
sys.exit(0 if seen == dict.fromkeys(list(seen)[:3], apart) | dict.fromkeys(list(seen)[3:], same) else 1)
PY

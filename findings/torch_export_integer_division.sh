#!/usr/bin/env bash
# torch exports a division of whole numbers with a rounding mode by way of float32.
# Seen 2026-11-30 with torch 2.15.0, onnxruntime 1.31.1: torch.div(a, 10, rounding_mode="floor") of int64 is exact in torch; the exported
# graph casts to float32, divides and rounds, so from 2**24 on the last digits are others. `a // 10` is exported as a division of whole
# numbers and is exact.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" torch==2.15.0 onnxscript==0.7.2 onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io
import logging
import sys

import onnxruntime
import torch
from torch import nn, tensor

logging.disable(logging.CRITICAL)
onnxruntime.set_default_logger_severity(4)


def both(function, *inputs):
    """What torch answers, and its own ONNX export in ONNX Runtime on the CPU."""

    class Module(nn.Module):
        def forward(self, *values):
            return function(*values)

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = torch.onnx.export(Module().eval(), inputs, dynamo=True).model_proto
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {value.name: given.numpy() for value, given in zip(session.get_inputs(), inputs)}
    return function(*inputs), torch.from_numpy(session.run(None, feed)[0]), [node.op_type for node in model.graph.node]


numbers = tensor([167_772_175, 123_456_789_012_345])
want, got, nodes = both(lambda x: torch.div(x, 10, rounding_mode="floor"), numbers)
print(f"torch {torch.__version__}, div: {want.tolist()}, served {got.tolist()}, nodes {nodes}")
plain, exact, plain_nodes = both(lambda x: x // 10, numbers)
print(f"//: {plain.tolist()}, served {exact.tolist()}, nodes {plain_nodes}")
sys.exit(0 if (want != got).all() and (plain == exact).all() and (want == plain).all() else 1)
PY

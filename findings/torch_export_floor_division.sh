#!/usr/bin/env bash
# torch exports a // b of floats as floor(a / b), which is not what torch computes.
# Seen 2026-11-29 with torch 2.15.0, onnxruntime 1.31.1: 1.0 // 0.1 is 9 in torch, as in Python, because 0.1 is a little more than a tenth; the export answers 10. Bins
# and positions that are computed so move by one.
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


want, got, nodes = both(lambda x: x // 0.1, tensor([1.0, 0.55]))
print(f"torch {torch.__version__}: {want.tolist()}, served {got.tolist()}, nodes {nodes}")
sys.exit(0 if want[0] == 9 and got[0] == 10 and want[1] == got[1] else 1)
PY

#!/usr/bin/env bash
# torch's export of atan2 turns the angle of (0, -1) by a whole turn: -pi for pi.
# Seen 2026-11-29 with torch 2.15.0, onnxruntime 1.31.1: ONNX has no atan2, and the parts it is put together from take 0 for negative. Headings and phases that lie
# exactly on the negative axis change their sign.
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


want, got, nodes = both(torch.atan2, tensor([0.0, 1.0, -1.0]), tensor([-1.0, -1.0, -1.0]))
print(f"torch {torch.__version__}: {want.tolist()}, served {got.tolist()}, nodes {nodes}")
sys.exit(0 if want[0] > 3.14 and got[0] < -3.14 and torch.allclose(want[1:], got[1:]) else 1)
PY

#!/usr/bin/env bash
# torch leaves divisor_override out when it exports avg_pool2d.
# Seen 2026-11-30 with torch 2.15.0, onnxruntime 1.31.1: avg_pool2d with a divisor of 1, which is a sum over windows, is served as the
# mean of each window. The export gives no warning.
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


want, got, nodes = both(lambda x: nn.functional.avg_pool2d(x, 2, divisor_override=1), torch.ones(1, 1, 2, 2))
print(f"torch {torch.__version__}: {want.tolist()}, served {got.tolist()}, nodes {nodes}")
sys.exit(0 if want.item() == 4 and got.item() == 1 else 1)
PY

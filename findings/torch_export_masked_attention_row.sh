#!/usr/bin/env bash
# A query that may attend to nothing is 0 in torch and the mean of all values from its own export.
# Seen 2026-11-29 with torch 2.15.0, onnxruntime 1.31.1: scaled_dot_product_attention with a boolean mask whose row is all False gives zeros; the exported
# graph adds the lowest finite number to each score, so that the softmax is uniform over what was masked. Padding rows of a batch so hold numbers
# that a later mean or sum takes in.
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


torch.manual_seed(0)
q = torch.randn(1, 1, 2, 4)
mask = tensor([[True, False], [False, False]])
want, got, nodes = both(lambda x: nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask), q)
print(f"torch {torch.__version__}: masked row {want[0, 0, 1].tolist()}, served {got[0, 0, 1].tolist()}, mean of the values {q[0, 0].mean(0).tolist()}")
is_mean = torch.allclose(got[0, 0, 1], q[0, 0].mean(0), atol=1e-5)
sys.exit(0 if (want[0, 0, 1] == 0).all() and is_mean and torch.allclose(want[0, 0, 0], got[0, 0, 0], atol=1e-5) else 1)
PY

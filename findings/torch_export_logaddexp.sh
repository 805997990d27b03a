#!/usr/bin/env bash
# torch exports logaddexp as log(exp(a) + exp(b)): beyond 89 the served value is inf.
# Seen 2026-11-29 with torch 2.15.0, onnxruntime 1.31.1: logaddexp(1000, 1000) is 1000.69 in torch and inf from its own export. logsumexp, which does the same over a
# dimension, is exported in its stable form.
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


a = tensor([1.0, 1000.0])
want, got, nodes = both(torch.logaddexp, a, a)
stable, served, _ = both(lambda x: x.logsumexp(0), tensor([1000.0, 1000.0]))
print(f"torch {torch.__version__}: {want.tolist()}, served {got.tolist()}, nodes {nodes}; logsumexp {stable.item():.2f}, served {served.item():.2f}")
sys.exit(0 if got[1].isposinf() and torch.allclose(want[0], got[0]) and torch.allclose(stable, served) else 1)
PY

#!/usr/bin/env bash
# torch exports scatter_reduce with reduce="mean" as a scatter without any reduction.
# Seen 2026-11-30 with torch 2.15.0, onnxruntime 1.31.1: of the values with one index, torch answers the mean, and the exported graph the
# last one. sum, prod, amax and amin are exported as such. The export gives no warning. Layers of graph networks that average over
# the neighbours of a node are written with this function.
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


values, index = tensor([[1.0, 3.0, 5.0]]), tensor([[0, 0, 1]])
found = {}
for reduce in ("mean", "sum", "amax"):
    want, got, nodes = both(lambda x, i: torch.zeros(1, 2).scatter_reduce(1, i, x, reduce, include_self=False), values, index)
    found[reduce] = want.tolist()[0], got.tolist()[0]
    print(f"torch {torch.__version__}, {reduce}: {found[reduce][0]}, served {found[reduce][1]}, nodes {nodes}")
sys.exit(0 if found == {"mean": ([2, 5], [3, 5]), "sum": ([4, 5], [4, 5]), "amax": ([3, 5], [3, 5])} else 1)
PY

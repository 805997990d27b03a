#!/usr/bin/env bash
# ONNX Runtime's InstanceNormalization loses its digits where the mean is large beside the spread; LayerNormalization does not.
# Seen 2026-11-29 with torch 2.15.0, onnxruntime 1.31.1: (1, 2, 3, 4) + 100,000 is normalized with an error of 0.005, + 4,000,000
# with one of 0.1; torch's layer_norm over the same values is served exactly. group_norm is exported by way of it as well.
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


errors = {}
for offset in (0.0, 1e5, 4e6):
    x = tensor([[[1.0, 2.0, 3.0, 4.0]]]) + offset
    for name, function in (("instance_norm", nn.functional.instance_norm), ("layer_norm", lambda v: nn.functional.layer_norm(v, (4,)))):
        want, got, _ = both(function, x)
        errors[name, offset] = float((want - got).abs().max())
        print(f"{name}, values + {offset:g}: largest error {errors[name, offset]:.2g}")
as_stated = errors["instance_norm", 0.0] < 1e-5 and errors["instance_norm", 1e5] > 1e-4 and errors["instance_norm", 4e6] > 0.01
sys.exit(0 if as_stated and max(errors["layer_norm", offset] for offset in (0.0, 1e5, 4e6)) < 1e-4 else 1)
PY

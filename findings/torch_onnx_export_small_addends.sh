#!/usr/bin/env bash
# torch.onnx.export leaves out the addition of a scalar below 1e-8 and the multiplication by one within 1e-5 of 1, in float64 as well.
# Seen 2026-11-29 with torch 2.15.0, onnxscript 0.7.2, onnx 1.23.2: its optimizer (optimize=True, the default) takes a constant for 0 or 1 within
# tolerances that know no scale. x + 1e-9 is x, so offsets of small units (seconds in nanoseconds, farads, moles) are gone, and a growth of 1.000005 a
# step is none. optimize=False, or a constant of one dimension, keeps them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" torch==2.15.0 onnxscript==0.7.2 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io
import logging
import sys

import onnx
import torch
from torch import nn

logging.disable(logging.CRITICAL)


class Offset(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Buffer(torch.tensor(value, dtype=torch.float64))

    def forward(self, x):
        return x + self.value


class Factor(Offset):
    def forward(self, x):
        return x * self.value


def operators(module, **options):
    x = torch.tensor([1e-9, 2e-9, 5e-9], dtype=torch.float64)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        torch.onnx.export(module, (x,), dynamo=True, verbose=False, **options).save("model.onnx")
    return [node.op_type for node in onnx.load("model.onnx").graph.node]


found = {
    "x + 1e-9": operators(Offset(1e-9)),
    "x + 1e-9, not optimized": operators(Offset(1e-9), optimize=False),
    "x + [1e-9]": operators(Offset([1e-9])),
    "x * 1.000005": operators(Factor(1.000005)),
}
print(found)
sys.exit(0 if list(found.values()) == [["Identity"], ["Add"], ["Add"], ["Identity"]] else 1)
PY

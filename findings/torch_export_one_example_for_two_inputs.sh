#!/usr/bin/env bash
# torch's export reads one input twice if both were given the same tensor as their example: a - b becomes b - b.
# Seen 2026-11-30 with torch 2.15.0, onnxruntime 1.31.1: input_ids, attention_mask and token_type_ids of ones, made once and given three times, are one input of the
# graph. The file still names all of them, so it loads, takes each and ignores all but the last. A clone or a view of the tensor is kept apart.
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

import numpy as np
import onnxruntime
import torch
from torch import nn

logging.disable(logging.CRITICAL)


class Difference(nn.Module):
    def forward(self, a, b):
        return a - b


def served(*examples):
    """Five minus two, by the export with these examples."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = torch.onnx.export(Difference().eval(), examples, input_names=["a", "b"], dynamo=True).model_proto
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"a": np.full(2, 5, np.float32), "b": np.full(2, 2, np.float32)}
    return session.run(None, feed)[0].tolist(), [list(node.input) for node in model.graph.node]


example = torch.ones(2)
same, apart = served(example, example), served(example, example.clone())
print(f"torch {torch.__version__}: 5 - 2 is {same[0]} (reads {same[1]}) with one example for both, {apart[0]} with two")
sys.exit(0 if same[0] == [0.0, 0.0] and apart[0] == [3.0, 3.0] else 1)
PY

#!/usr/bin/env bash
# scikit-learn's Normalizer(norm="max") changes its meaning on the way to ONNX.
# Seen 2026-11-29 with scikit-learn 1.9.1, skl2onnx 1.20.0, onnxruntime 1.31.1: scikit-learn divides a row by its largest absolute
# value; the ONNX operator divides by its largest value, sign included. The row (-4, -2) is (-1, -0.5) in scikit-learn and
# (2, 1) when served; a row whose largest value is near 0 becomes hundreds. Rows without negative numbers are the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6 scikit-learn==1.9.1 onnxmltools==1.16.0 skl2onnx==1.20.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import onnxruntime

onnxruntime.set_default_logger_severity(4)
rng = np.random.default_rng(0)
X = rng.normal(size=(500, 4)).astype(np.float32)
z = X[:, 0] * 3 + X[:, 1]


def served(model, x, output=0):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[output])


def differ(got, want):
    """How many answers are off by more than a thousandth."""
    return int((np.abs(got.reshape(want.shape).astype(float) - want.astype(float)) > 1e-3).sum())


from skl2onnx import to_onnx
from sklearn.preprocessing import Normalizer

transformer = Normalizer("max").fit(X)
model = to_onnx(transformer, X[:1])
row = np.array([[-4, -2, -4, -2]], np.float32)
print("scikit-learn", transformer.transform(row).tolist(), "served", served(model, row).tolist())
wrong, wrong_positive = differ(served(model, X), transformer.transform(X)), differ(served(model, np.abs(X)), transformer.transform(np.abs(X)))
print(f"{wrong} of {X.size} values differ; {wrong_positive} where all are positive")
sys.exit(0 if served(model, row)[0, 0] == 1.0 * (-4) / (-2) and wrong > 100 and wrong_positive == 0 else 1)
PY

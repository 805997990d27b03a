#!/usr/bin/env bash
# SimpleImputer(add_indicator=True) loses its indicator columns in ONNX, and what follows still answers.
# Seen 2026-11-30 with scikit-learn 1.9.1, skl2onnx 1.20.0, onnxruntime 1.31.1: scikit-learn appends a column for each feature that was missing
# somewhere in the training data; the exported graph does not. In a pipeline, a linear model that was fitted to the wider table is
# served on the narrower one without an error, with other probabilities.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6 scikit-learn==1.9.1 skl2onnx==1.20.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import onnxruntime
from skl2onnx import to_onnx

onnxruntime.set_default_logger_severity(4)
rng = np.random.default_rng(0)


def served(model, x, output=0):
    options = {"zipmap": False} if hasattr(model, "classes_") else None
    made = to_onnx(model, x[:1], options=options).SerializeToString()
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[output])


from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

x = rng.normal(size=(300, 3)).astype(np.float32)
y = x[:, 0] > 0
x[::3, 1], x[1::5, 2] = np.nan, np.nan
imputer = SimpleImputer(add_indicator=True).fit(x)
want, got = imputer.transform(x).shape, served(imputer, x).shape
pipeline = make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression()).fit(x, y)
expected, answered = pipeline.predict_proba(x)[:, 1], served(pipeline, x, 1)[:, 1]
n_labels = int(((expected > 0.5) != (answered > 0.5)).sum())
print(f"columns: {want[1]} in scikit-learn, {got[1]} served; in a pipeline {n_labels} of 300 labels are others")
sys.exit(0 if (want[1], got[1]) == (5, 3) and n_labels > 10 else 1)
PY

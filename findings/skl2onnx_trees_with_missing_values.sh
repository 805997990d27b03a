#!/usr/bin/env bash
# scikit-learn trees that were trained with missing values lose their rule for them on the way to ONNX.
# Seen 2026-11-29 with scikit-learn 1.9.1, skl2onnx 1.20.0, onnxruntime 1.31.1: since 1.3 a DecisionTreeClassifier learns for each split
# on which side a NaN goes (missing_go_to_left). The converter writes nodes_missing_value_tracks_true as 0 everywhere, so every NaN goes
# right. Conversion and loading say nothing; rows without a NaN are the same. Random forests behave alike.
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
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

y = (z > 0).astype(int)
holed = X.copy()
holed[::7, 0] = np.nan
is_holed = np.isnan(holed).any(1)
as_stated = True
for estimator in (DecisionTreeClassifier(random_state=0), RandomForestClassifier(20, random_state=0)):
    estimator.fit(holed, y)
    wrong = served(to_onnx(estimator, X[:1], options={"zipmap": False}), holed) != estimator.predict(holed)
    print(type(estimator).__name__, f"{wrong[is_holed].sum()} of {is_holed.sum()} rows with a NaN differ, {wrong[~is_holed].sum()} of the others")
    as_stated &= wrong[is_holed].sum() > 3 and wrong[~is_holed].sum() == 0
sys.exit(0 if as_stated else 1)
PY

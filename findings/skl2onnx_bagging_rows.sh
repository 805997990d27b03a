#!/usr/bin/env bash
# Bagging of classifiers without predict_proba answers as many rows in ONNX as it has members.
# Seen 2026-11-30 with scikit-learn 1.9.1, skl2onnx 1.20.0, onnxruntime 1.31.1: BaggingClassifier counts the votes of members that have no
# predict_proba, such as SVC. The exported graph answers five rows for five members, whether it is asked for 6 rows or for 60.
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


from sklearn.ensemble import BaggingClassifier
from sklearn.svm import SVC

x = rng.normal(size=(60, 3)).astype(np.float32)
bagging = BaggingClassifier(SVC(), n_estimators=5, random_state=0).fit(x, x[:, 0] > 0)
shapes = [(n, bagging.predict(x[:n]).shape, served(bagging, x[:n]).shape) for n in (6, 60)]
for n, want, got in shapes:
    print(f"{n} rows: {want} labels in scikit-learn, {got} served")
sys.exit(0 if [got for _, _, got in shapes] == [(5,), (5,)] else 1)
PY

#!/usr/bin/env bash
# Nearest neighbours that are weighted by distance count equally in ONNX.
# Seen 2026-11-30 with scikit-learn 1.9.1, skl2onnx 1.20.0, onnxruntime 1.31.1: weights="distance" is left out of the exported graph without a
# warning, for regression and for classification. The served answer is that of weights="uniform".
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


from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

x = rng.normal(size=(200, 2)).astype(np.float32)
y = 3 * x[:, 0] + x[:, 1]
asked = rng.normal(size=(50, 2)).astype(np.float32)
is_uniform = []
for name, kind, target, method in (
    ("regression", KNeighborsRegressor, y, "predict"),
    ("classification", KNeighborsClassifier, (y > 0).astype(int), "predict_proba"),
):
    weighted, uniform = (kind(5, weights=each).fit(x, target) for each in ("distance", "uniform"))
    want, plain = getattr(weighted, method)(asked), getattr(uniform, method)(asked)
    got = served(weighted, asked, 0 if method == "predict" else 1).reshape(want.shape)
    is_uniform.append(np.allclose(got, plain, atol=1e-3) and np.abs(got - want).max() > 0.05)
    print(f"{name}: served differs from scikit-learn by {np.abs(got - want).max():.3f}, from equal weights by {np.abs(got - plain).max():.1e}")
sys.exit(0 if all(is_uniform) else 1)
PY

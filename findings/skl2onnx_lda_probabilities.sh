#!/usr/bin/env bash
# The probabilities of a linear discriminant analysis with two classes are others in ONNX.
# Seen 2026-11-30 with scikit-learn 1.9.1, skl2onnx 1.20.0, onnxruntime 1.31.1: scikit-learn takes the sigmoid of the score d; the exported graph
# takes the softmax of -d and d, which is the sigmoid of 2 d. Labels are the same, and every probability is further from a half.
# With three classes both take the same softmax.
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


from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

x = rng.normal(size=(300, 3)).astype(np.float32)
noisy = x[:, 0] + rng.normal(size=300)
two = LinearDiscriminantAnalysis().fit(x, noisy > 0)
three = LinearDiscriminantAnalysis().fit(x, (noisy > 0).astype(int) + (noisy > 1))
want, got = two.predict_proba(x)[:, 1], served(two, x, 1)[:, 1]
doubled = 1 / (1 + np.exp(-2 * two.decision_function(x)))
print("two classes: scikit-learn", want[:3].round(3).tolist(), "served", got[:3].round(3).tolist())
error = np.abs(three.predict_proba(x) - served(three, x, 1)).max()
print(f"the served ones are the sigmoid of twice the score: {np.allclose(got, doubled, atol=1e-5)}; three classes differ by {error:.1e}")
sys.exit(0 if np.allclose(got, doubled, atol=1e-5) and np.abs(want - got).max() > 0.05 and error < 1e-5 else 1)
PY

#!/usr/bin/env bash
# CatBoost's ONNX export numbers whole-number classes from 0, whatever they were.
# Seen 2026-11-29 with catboost 1.2.10, onnxruntime 1.31.1: trained on the labels 5 and 6, the model says 5 and 6, its ONNX file 0 and 1 (all 500
# rows). Text labels are kept. Ratings 1 to 5, codes and years are so off without a word.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6 catboost==1.2.10
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
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[output])


def differ(got, want):
    """How many answers are off by more than a thousandth."""
    return int((np.abs(got.reshape(want.shape).astype(float) - want.astype(float)) > 1e-3).sum())


from catboost import CatBoostClassifier, CatBoostRegressor

quick = {"iterations": 20, "depth": 3, "verbose": False, "allow_writing_files": False, "random_seed": 0}


def exported(estimator):
    estimator.save_model("model.onnx", format="onnx")
    return "model.onnx"


y = np.where(z > 0, 6, 5)
classifier = CatBoostClassifier(**quick).fit(X, y)
got, want = served(exported(classifier), X).ravel(), np.asarray(classifier.predict(X)).ravel()
print("predicted", sorted(set(want.tolist())), "served", sorted(set(got.tolist())))
named = CatBoostClassifier(**quick).fit(X, np.where(z > 0, "six", "five"))
same = (served(exported(named), X).ravel() == np.asarray(named.predict(X)).ravel()).all()
print("text labels agree:", bool(same))
sys.exit(0 if sorted(set(got.tolist())) == [0, 1] and (got + 5 == want).all() and same else 1)
PY

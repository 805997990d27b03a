#!/usr/bin/env bash
# CatBoost's ONNX export leaves out what turns a score into the answer for Poisson, Tweedie and one-versus-all.
# Seen 2026-11-29 with catboost 1.2.10, onnxruntime 1.31.1: a CatBoostRegressor with Poisson or Tweedie loss predicts exp(score) and its ONNX file
# answers the score, so that counts of 7 come out as 2; MultiClassOneVsAll is served with a softmax where CatBoost has one sigmoid a
# class. RMSE, Logloss and MultiClass agree.
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


counts = np.round(np.exp(z / 2)).astype(np.float32)
as_stated = True
for loss, is_off in (("RMSE", False), ("Poisson", True), ("Tweedie:variance_power=1.5", True)):
    regressor = CatBoostRegressor(loss_function=loss, **quick).fit(X, counts)
    got, want = served(exported(regressor), X).ravel(), regressor.predict(X)
    is_logarithm = differ(np.exp(got), want) == 0
    print(f"{loss}: {differ(got, want)} of {len(X)} differ; the served is the logarithm: {is_logarithm}")
    as_stated &= is_logarithm == is_off and (differ(got, want) > 400) == is_off
for loss, is_off in (("MultiClass", False), ("MultiClassOneVsAll", True)):
    classifier = CatBoostClassifier(loss_function=loss, **quick).fit(X, np.digitize(z, [-1, 1]))
    maps = onnxruntime.InferenceSession(exported(classifier), providers=["CPUExecutionProvider"]).run(None, {"features": X})[1]
    got, want = np.array([[row[i] for i in sorted(row)] for row in maps]), classifier.predict_proba(X)
    print(f"{loss}: {differ(got, want)} of {want.size} probabilities differ")
    as_stated &= (differ(got, want) > 1000) == is_off
sys.exit(0 if as_stated else 1)
PY

#!/usr/bin/env bash
# XGBoost's reg:logistic and multi:softmax are served as raw scores instead of probabilities.
# Seen 2026-11-29 with xgboost 3.2.0, onnxmltools 1.16.0, onnxruntime 1.31.1: an XGBRegressor with objective reg:logistic answers between 0 and
# 1 and is served on the scale before the sigmoid, negative numbers among them; the "probabilities" output of an XGBClassifier with
# multi:softmax holds values above 1. multi:softprob and binary:logistic agree.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6 scikit-learn==1.9.1 onnxmltools==1.16.0 skl2onnx==1.20.0 xgboost==3.2.0
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


import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType


def converted(estimator):
    return onnxmltools.convert_xgboost(estimator, initial_types=[("x", FloatTensorType([None, 4]))])


share = 1 / (1 + np.exp(-z))
regressor = xgboost.XGBRegressor(n_estimators=10, max_depth=3, objective="reg:logistic").fit(X, share)
got, want = served(converted(regressor), X).ravel(), regressor.predict(X)
print(f"reg:logistic: {differ(got, want)} of {len(X)} differ; predicted {want.min():.2f} to {want.max():.2f}, served {got.min():.2f} to {got.max():.2f}")
as_stated = differ(got, want) > 400 and got.min() < 0 and want.min() >= 0
classes = np.digitize(z, [-1, 1])
for objective, is_wrong in (("multi:softmax", True), ("multi:softprob", False)):
    classifier = xgboost.XGBClassifier(n_estimators=10, objective=objective).fit(X, classes)
    got, want = served(converted(classifier), X, 1), classifier.predict_proba(X)
    print(f"{objective}: {differ(got, want)} of {want.size} probabilities differ, the largest served is {got.max():.2f}")
    as_stated &= (got.max() > 1) == is_wrong and (differ(got, want) > 1000) == is_wrong
sys.exit(0 if as_stated else 1)
PY

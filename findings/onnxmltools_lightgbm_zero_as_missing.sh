#!/usr/bin/env bash
# LightGBM with zero_as_missing=True is served as if zeros were numbers.
# Seen 2026-11-29 with lightgbm 4.7.0, onnxmltools 1.16.0, onnxruntime 1.31.1: of 500 rows, those with a zero are answered otherwise than by
# LightGBM, all others alike. ONNX trees know NaN as missing and nothing else; the converter drops the setting without a word.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6 scikit-learn==1.9.1 onnxmltools==1.16.0 skl2onnx==1.20.0 lightgbm==4.7.0
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


import lightgbm
import onnxmltools
from onnxmltools.convert.common.data_types import FloatTensorType


def converted(booster, **options):
    return onnxmltools.convert_lightgbm(booster, initial_types=[("x", FloatTensorType([None, 4]))], **options)


zeros = X.copy()
zeros[::3, 0] = 0
settings = {"verbose": -1, "num_leaves": 7, "objective": "regression", "zero_as_missing": True}
booster = lightgbm.train(settings, lightgbm.Dataset(zeros, z), 20)
model, has_zero = converted(booster), (zeros == 0).any(1)
wrong = [differ(served(model, zeros[mask]), booster.predict(zeros[mask])) for mask in (has_zero, ~has_zero)]
print(f"{wrong[0]} of {has_zero.sum()} rows with a zero differ, {wrong[1]} of the {(~has_zero).sum()} others")
sys.exit(0 if wrong[0] > 50 and wrong[1] == 0 else 1)
PY

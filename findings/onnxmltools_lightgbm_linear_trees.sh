#!/usr/bin/env bash
# LightGBM with linear_tree=True loses the linear models in its leaves on the way to ONNX.
# Seen 2026-11-29 with lightgbm 4.7.0, onnxmltools 1.16.0, onnxruntime 1.31.1: every one of 500 predictions differs, by up to 3 where the target's
# spread is about 3, since only the constant of each leaf is written. Conversion and loading say nothing. Without linear_tree all agree.
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


seen = []
for linear in (False, True):
    booster = lightgbm.train({"verbose": -1, "num_leaves": 7, "objective": "regression", "linear_tree": linear}, lightgbm.Dataset(X, z), 20)
    seen.append(differ(served(converted(booster), X), booster.predict(X)))
    print(f"linear_tree={linear}: {seen[-1]} of {len(X)} predictions differ")
sys.exit(0 if seen[0] == 0 and seen[1] > 400 else 1)
PY

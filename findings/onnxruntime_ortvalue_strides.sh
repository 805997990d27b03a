#!/usr/bin/env bash
# ONNX Runtime's OrtValue.ortvalue_from_numpy_with_onnx_type reads an array's memory as if it were contiguous.
# Seen 2026-11-30 with onnxruntime 1.31.1 and numpy 2.4.6: of the transpose of (0, 1, 2), (3, 4, 5) it makes the rows
# (0, 1), (2, 3), (4, 5), with no error and no warning. ortvalue_from_numpy makes the right rows of the same array.
# The function is the only way from numpy to a bfloat16 tensor, so a transposed or sliced array feeds a model wrong values.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto
from onnxruntime import OrtValue

transposed = np.arange(6, dtype=np.uint16).reshape(2, 3).T
every_second = np.arange(6, dtype=np.uint16)[::2]
seen = {
    "numpy": transposed.tolist(),
    "ortvalue_from_numpy": OrtValue.ortvalue_from_numpy(transposed).numpy().tolist(),
    "with_onnx_type": OrtValue.ortvalue_from_numpy_with_onnx_type(transposed, TensorProto.UINT16).numpy().tolist(),
    "with_onnx_type, every second of 0 to 5": OrtValue.ortvalue_from_numpy_with_onnx_type(every_second, TensorProto.UINT16)
    .numpy()
    .tolist(),
}
print("onnxruntime", onnxruntime.__version__)
for name, value in seen.items():
    print(f"{name}: {value}")
expected = [[[0, 3], [1, 4], [2, 5]], [[0, 3], [1, 4], [2, 5]], [[0, 1], [2, 3], [4, 5]], [0, 1, 2]]
sys.exit(0 if list(seen.values()) == expected else 1)
PY

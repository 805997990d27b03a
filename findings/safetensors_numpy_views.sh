#!/usr/bin/env bash
# safetensors.numpy writes a view in the order of memory, not of the array: a transposed matrix comes back scrambled.
# Seen 2026-11-29 with safetensors 0.8.0, numpy 2.4.6: save_file({"t": a.T}) and a strided view are stored with the right shape and
# the wrong values, without an error. safetensors.torch refuses tensors that are not contiguous. np.ascontiguousarray first is
# enough.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" safetensors==0.8.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load, save

a = np.arange(6, dtype=np.float32).reshape(2, 3)
views = {"transposed": a.T, "every second column": a[:, ::2]}
same = {}
print("safetensors", safetensors.__version__)
for name, view in views.items():
    back = load(save({"t": view}))["t"]
    same[name] = bool(np.array_equal(back, view)), bool(np.array_equal(load(save({"t": np.ascontiguousarray(view)}))["t"], view))
    print(f"{name}: {view.tolist()} came back as {back.tolist()}")
sys.exit(0 if all(pair == (False, True) for pair in same.values()) else 1)
PY

#!/usr/bin/env bash
# MLServer's codec for numpy gives a vector of n numbers the shape [n, 1], and a scalar the shape [1].
# Seen 2026-11-30 with mlserver 1.7.1: NumpyCodec.encode_output of an array of shape (3,) says [3, 1], and decode_output makes a column of it. Subtracted
# from the vector that a client expects, numpy broadcasts it to 3 x 3 without an error, so a mean error over it is wrong.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" mlserver==1.7.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
from mlserver.codecs import NumpyCodec

vector = np.array([1, 2, 3], dtype=np.float32)
encoded = NumpyCodec.encode_output("y", vector)
again = NumpyCodec.decode_output(encoded)
scalar = NumpyCodec.encode_output("y", np.array(3, dtype=np.float32))
difference = np.abs(again - vector)
print(f"(3,) is sent as {encoded.shape}, a scalar as {scalar.shape}; their difference has the shape {difference.shape} and the mean {difference.mean():.3f}")
sys.exit(0 if encoded.shape == [3, 1] and scalar.shape == [1] and difference.mean() > 0 else 1)
PY

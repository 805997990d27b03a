#!/usr/bin/env bash
# tritonclient sends NaN and Infinity as bare words, which are not JSON.
# Seen 2026-11-30 with tritonclient 2.73.0 (http): with binary_data=False, a float array that has a NaN becomes a body with `NaN` in it. Parsers that keep
# to the standard refuse the whole body: orjson 3.11.4, msgspec 0.20.0 and JavaScript's. Python's own json takes it. Binary data has no such trouble.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" tritonclient[http]==2.73.0 numpy==2.4.6 orjson==3.11.4 msgspec==0.20.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import json
import sys

import msgspec
import numpy as np
import orjson
from tritonclient.http import InferenceServerClient, InferInput

given = InferInput("x", [3], "FP32")
given.set_data_from_numpy(np.array([1, np.nan, np.inf], dtype=np.float32), binary_data=False)
body, length = InferenceServerClient.generate_request_body([given])
refused = []
for name, parse in (("json", json.loads), ("orjson", orjson.loads), ("msgspec", msgspec.json.decode)):
    try:
        parse(body)
    except (ValueError, msgspec.DecodeError):
        refused.append(name)
print(body.decode(), "refused by", refused)
sys.exit(0 if b"[1.0,NaN,Infinity]" in body.replace(b" ", b"") and refused == ["orjson", "msgspec"] else 1)
PY

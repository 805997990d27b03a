#!/usr/bin/env bash
# tritonclient gives the strings of one output as bytes or as str, depending on how they were sent.
# Seen 2026-11-30 with tritonclient 2.73.0: as_numpy() of a BYTES output has bytes if the output came as binary data, which is the default, and str if it
# came as JSON. So `answer.as_numpy("label")[0] == "cat"` is true or false by an option of the request.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" tritonclient[http]==2.73.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import json
import sys

from tritonclient.http import InferResult

label = {"name": "label", "datatype": "BYTES", "shape": [1]}
in_json = json.dumps({"outputs": [{**label, "data": ["cat"]}]}).encode()
head = json.dumps({"outputs": [{**label, "parameters": {"binary_data_size": 7}}]}).encode()
from_json = InferResult.from_response_body(in_json).as_numpy("label")
from_binary = InferResult.from_response_body(head + b"\3\0\0\0cat", header_length=len(head)).as_numpy("label")
print(f"from JSON {from_json[0]!r}, from binary data {from_binary[0]!r}, equal: {from_json[0] == from_binary[0]}")
sys.exit(0 if (from_json[0], from_binary[0]) == ("cat", b"cat") else 1)
PY

#!/usr/bin/env bash
# MLServer's codec for numpy cuts the fractions of numbers that are sent as an integer datatype, and takes the text "false" for true.
# Seen 2026-11-30 with mlserver 1.7.1: data [1.7, 2.9] as INT64 is read as (1, 2), and ["false", 0] as BOOL as (True, False), without an error. A whole
# number that does not fit an INT8 is refused.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" mlserver==1.7.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

from mlserver.codecs import NumpyCodec
from mlserver.types import RequestInput


def read(datatype, data):
    return NumpyCodec.decode_input(RequestInput(name="x", shape=[len(data)], datatype=datatype, data=data)).tolist()


numbers, flags = read("INT64", [1.7, 2.9]), read("BOOL", ["false", 0])
print(f"[1.7, 2.9] as INT64 is {numbers}; ['false', 0] as BOOL is {flags}")
sys.exit(0 if numbers == [1, 2] and flags == [True, False] else 1)
PY

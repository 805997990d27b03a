#!/usr/bin/env bash
# pyarrow's CSV reader makes float64 of whole numbers beyond 63 bits: different ids become equal.
# Seen 2026-11-29 with pyarrow 26.0.1, pandas 3.1.1: 9223372036854775808 and ...809 are one value, and so they are in pandas with engine="pyarrow",
# where its own engine keeps them (uint64). Hashes of 64 bits are such ids in half of all cases.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" pyarrow==26.0.1 pandas==3.1.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import io
import sys

import pandas
import pyarrow.csv

text = b"id,value\n9223372036854775808,1\n9223372036854775809,2\n"
arrow = pyarrow.csv.read_csv(io.BytesIO(text))["id"]
by_engine = {engine: pandas.read_csv(io.BytesIO(text), engine=engine)["id"] for engine in ("c", "pyarrow")}
found = {name: (str(ids.dtype), ids.nunique()) for name, ids in by_engine.items()}
print("pyarrow", arrow.type, len(arrow.unique()), "pandas", found)
sys.exit(0 if (str(arrow.type), len(arrow.unique())) == ("double", 1) and found["c"] == ("uint64", 2)
         and found["pyarrow"][1] == 1 else 1)
PY

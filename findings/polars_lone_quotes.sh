#!/usr/bin/env bash
# polars moves cells where a quote stands in unquoted cells and another cell of the file has escaped quotes.
# Seen 2026-11-29 with polars 2.1.0: the row '"kind ""a"" one",5",6"' gives one cell '5",6"' and an empty one behind it, without an error. Python's
# csv, pandas and pyarrow read 5" and 6". The number of rows is right, and the row by itself is read right: the rows after it decide.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" polars==2.1.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import csv
import io
import sys

import polars

print("polars", polars.__version__)
quoted = '"kind ""a"" one"'
text = f'note,width,height\n{quoted},5",6"\nb,{quoted},c\n{quoted},{quoted},c\n'
alone = f'note,width,height\n{quoted},5",6"\n'


def first(text):
    return list(polars.read_csv(io.BytesIO(text.encode()), infer_schema=False).rows()[0])


want = list(csv.reader(io.StringIO(text)))[1]
got = first(text)
print("csv", want, "polars", got, "polars, by itself", first(alone))
sys.exit(0 if got == ['kind "a" one', '5",6"', None] and first(alone) == want else 1)
PY

#!/usr/bin/env bash
# numpy registers timedelta64 as a whole number of the standard library, but int() of one is a TypeError; and a list made of datetime64[ns] holds whole numbers where one of datetime64[us] holds datetimes.
# Seen 2026-11-29 with numpy 2.4.6: isinstance(np.timedelta64(1, "s"), numbers.Integral) is True, int() of it raises, and
# np.array([...], "M8[ns]").tolist() gives nanoseconds as int. Code that asks numbers.Integral, or trusts tolist, must look at
# dtype.kind first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import numbers
import sys

import numpy as np

span = np.timedelta64(1, "s")
print("numpy", np.__version__)
try:
    whole = int(span)
except TypeError as error:
    whole = error
listed = {unit: type(np.array(["2030-01-31"], dtype=f"M8[{unit}]").tolist()[0]).__name__ for unit in ("us", "ns")}
print(f"isinstance(timedelta64, numbers.Integral): {isinstance(span, numbers.Integral)}; int(): {whole!r}; tolist: {listed}")
as_stated = isinstance(span, numbers.Integral) and isinstance(whole, TypeError) and listed == {"us": "datetime", "ns": "int"}
sys.exit(0 if as_stated else 1)
PY

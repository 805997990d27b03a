#!/usr/bin/env bash
# safetensors writes its metadata in a random order: the same content is another file each time.
# Seen 2026-11-29 with safetensors 0.8.0: with two or more metadata entries the bytes differ from one call of save() to the next, so the digests of
# equal checkpoints differ and a store that names files by their content keeps them all. With one entry, or none, they are equal.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" safetensors==0.8.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import hashlib
import sys

import numpy as np
import safetensors
from safetensors.numpy import save

tensors = {"t": np.zeros(2, np.float32)}


def digests(n_entries):
    metadata = {f"key{i}": str(i) for i in range(n_entries)}
    return len({hashlib.sha256(save(tensors, metadata=metadata)).hexdigest() for _ in range(20)})


seen = {n: digests(n) for n in (0, 1, 6)}
print("safetensors", safetensors.__version__)
for n, distinct in seen.items():
    print(f"{n} metadata entries: {distinct} distinct files of 20")
sys.exit(0 if seen[0] == seen[1] == 1 and seen[6] > 5 else 1)
PY

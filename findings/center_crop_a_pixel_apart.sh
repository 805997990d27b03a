#!/usr/bin/env bash
# torchvision and transformers cut the middle of a picture a pixel apart, for some of the sizes whose margin is odd.
# Seen 2026-11-30 with torchvision 0.29.2, transformers 5.24.0: torchvision rounds half a pixel to the even side, transformers always down. So of margins of 3, 7, 11 …
# pixels the cut differs, and of 1, 5, 9 … it does not. A model that is trained with one library and served with the other sees shifted pictures.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" torch==2.15.0 torchvision==0.29.2 transformers==5.24.0 pillow==13.0.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import torchvision
import transformers
from PIL import Image
from torchvision.transforms import functional
from transformers.image_transforms import center_crop

SIZE = 8
first = {}
for margin in range(12):
    rows = np.zeros((SIZE + margin, SIZE + margin, 3), dtype=np.uint8)
    rows[:, :, 0] = np.arange(SIZE + margin)[:, None]
    ours = np.asarray(functional.center_crop(Image.fromarray(rows), [SIZE, SIZE]))
    theirs = center_crop(rows, (SIZE, SIZE))
    first[margin] = int(ours[0, 0, 0]), int(theirs[0, 0, 0])
print("torchvision", torchvision.__version__, "transformers", transformers.__version__)
print("first row of the cut (torchvision, transformers) by margin:", first)
sys.exit(0 if [margin for margin, (a, b) in first.items() if a != b] == [3, 7, 11] else 1)
PY

#!/usr/bin/env bash
# Pillow clips a grey picture of 16 bits at 255 when it becomes RGB or 8 bits: nearly every pixel is white.
# Seen 2026-11-30 with Pillow 13.0.0: microscopes, X-ray images and depth cameras write such PNG files. A colour picture of 16 bits keeps its upper 8 bits instead.
# convert("RGB") is what loaders of data sets call, and it reports nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" pillow==13.0.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import struct
import sys
import zlib

import numpy as np
import PIL
from PIL import Image


def png(name, colour, pixels):
    """A PNG of 16 bits in a channel. colour: 0 is grey, 2 is RGB. pixels: [height, width, channels]"""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    with open(name, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


levels = np.linspace(0, 65535, 8).astype(np.uint16)
png("grey.png", 0, levels[None, :, None])
png("colour.png", 2, np.repeat(levels[None, :, None], 3, axis=2))
grey, colour = (np.asarray(Image.open(name).convert("RGB"))[0, :, 0].tolist() for name in ("grey.png", "colour.png"))
print("Pillow", PIL.__version__, "grey:", grey, "the same levels in colour:", colour)
sys.exit(0 if grey == [0] + [255] * 7 and colour == (levels >> 8).tolist() else 1)
PY

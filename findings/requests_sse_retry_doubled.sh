#!/usr/bin/env bash
# requests-sse waits twice as long as the server's `retry:` asks before it connects again, from the first time on.
# Seen 2026-11-29 with requests-sse 0.5.3, requests 2.32: with `retry: 300` the second request comes after 0.6 s; it doubles the delay before it
# sleeps, not after. A server that asks for two seconds sees its readers after four, and whoever watches for 2 s takes them for gone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" requests-sse==0.5.3
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

from requests_sse import EventSource

RETRY_S = 0.3
asked = []


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(time.monotonic())
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"retry: %d\n\nid: %d\ndata: x\n\n" % (RETRY_S * 1000, len(asked)))

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
with EventSource(f"http://127.0.0.1:{server.server_port}/") as source:
    ids = [event.last_event_id for event, _ in zip(source, range(2))]
waited_s = asked[1] - asked[0]
print(f"requests-sse {version('requests-sse')}: events {ids}; retry said {RETRY_S} s, the second request came after {waited_s:.2f} s")
# Twice the delay at the least; once would be well below.
sys.exit(0 if waited_s >= 2 * RETRY_S else 1)
PY

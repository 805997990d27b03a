#!/usr/bin/env bash
# requests-sse raises InvalidStatusCodeError out of the loop over its events when a server ends a stream for good as the standard says, by 204.
# Seen 2026-11-29 with requests-sse 0.5.3: a stream of one event ends, the library connects again by itself, is answered 204 ("stop reconnecting",
# https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model), and the `for` loop ends in an exception, which looks like a failure.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" requests-sse==0.5.3
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

from requests_sse import EventSource, InvalidStatusCodeError


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.headers["Last-Event-ID"] == "1":
            self.send_response(204)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"retry: 10\nid: 1\ndata: all there is\n\n")

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
heard, raised = [], None
with EventSource(f"http://127.0.0.1:{server.server_port}/") as source:
    try:
        for event in source:
            heard.append(event.data)
    except InvalidStatusCodeError as error:
        raised = error.status_code
print(f"requests-sse {version('requests-sse')}: heard {heard}, then InvalidStatusCodeError {raised}")
sys.exit(0 if heard == ["all there is"] and raised == 204 else 1)
PY

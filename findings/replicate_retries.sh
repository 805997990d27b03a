#!/usr/bin/env bash
# The replicate client asks ten times for a prediction that is answered 429 or 503, and never twice to create one.
# Seen 2026-11-29 with replicate 1.0.7: `Retry-After: 0` on GET is followed at once, ten requests in all; a POST that is refused with 429 and the same header
# raises after one, although nothing was created. 500 is never tried again. A server that sheds load must expect ten times the reads and
# lose the writes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" replicate==1.0.7
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import http.server
import json
import sys
import threading


def serve(answer):
    """A server on loopback. answer: (number of the request, its body) -> (status, headers, body). -> (url, what was asked)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append((self.command, self.path, dict(self.headers), self.rfile.read(int(self.headers.get("Content-Length") or 0))))
            status, headers, body = answer(len(asked), asked[-1][3])
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}", asked


JSON = {"Content-Type": "application/json"}


import replicate
from replicate.exceptions import ReplicateError

seen = {}
for status in (429, 503, 500):
    url, asked = serve(lambda n, body: (status, {**JSON, "Retry-After": "0"}, b'{"detail": "busy"}'))
    client = replicate.Client(api_token="k", base_url=url)
    for method, call in (("GET", lambda: client.predictions.get("p")), ("POST", lambda: client.predictions.create(version="v", input={}))):
        asked.clear()
        try:
            call()
        except ReplicateError:
            seen[method, status] = len(asked)
        print(f"{method} answered {status}: {seen.get((method, status))} requests")
expected = {("GET", 429): 10, ("POST", 429): 1, ("GET", 503): 10, ("POST", 503): 1, ("GET", 500): 1, ("POST", 500): 1}
sys.exit(0 if seen == expected else 1)
PY

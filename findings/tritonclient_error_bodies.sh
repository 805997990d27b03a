#!/usr/bin/env bash
# tritonclient cannot show an error whose body has an object under `error`, and takes 202 for a failure.
# Seen 2026-11-29 with tritonclient 2.73.0 (http): with {"error": {"message": ...}}, as OpenAI's API has it, the exception is raised and its str() raises a
# TypeError, so that logging it fails; with problem+json the message is "an exception occurred in the client while decoding". Only
# {"error": "text"} is shown, and only status 200 is success: a 202 with a JSON body is an exception too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" tritonclient[http]==2.73.0
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


import tritonclient.http
from tritonclient.utils import InferenceServerException

seen = {}
for name, status, body in (("text", 400, {"error": "busy"}), ("object", 400, {"error": {"message": "busy"}}), ("problem", 400, {"title": "busy", "status": 400}), ("202", 202, {"name": "m"})):
    url, _ = serve(lambda n, _: (status, JSON, json.dumps(body).encode()))
    try:
        seen[name] = f"metadata {tritonclient.http.InferenceServerClient(url.removeprefix('http://')).get_model_metadata('m')}"
    except InferenceServerException as error:
        try:
            seen[name] = str(error).splitlines()[0]
        except TypeError as failure:
            seen[name] = f"str() raises TypeError: {failure}"
    print(f"{name}: {seen[name]}")
as_stated = seen["text"] == "[400] busy" and "TypeError" in seen["object"] and "decoding" in seen["problem"] and "decoding" in seen["202"]
sys.exit(0 if as_stated else 1)
PY

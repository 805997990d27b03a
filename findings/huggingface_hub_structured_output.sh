#!/usr/bin/env bash
# huggingface_hub's InferenceClient sends another response_format than it was given, and the model name "dummy".
# Seen 2026-11-29 with huggingface_hub 2.4.0: against an own base_url, {"type": "json_schema", "json_schema": {"schema": S}} goes out as {"type": "json_object",
# "value": S}, which OpenAI-compatible servers do not know and mostly read as "any JSON"; and where the call names no model the body says
# "model": "dummy".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" huggingface_hub==2.4.0
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


import huggingface_hub
from huggingface_hub import InferenceClient

ANSWER = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
ANSWER["choices"] = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{}"}}]
url, asked = serve(lambda n, body: (200, JSON, json.dumps(ANSWER).encode()))
schema = {"type": "object", "properties": {"city": {"type": "string"}}}
wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
InferenceClient(base_url=url, token="k").chat_completion([{"role": "user", "content": "where"}], response_format=wanted)
sent = json.loads(asked[0][3])
print("huggingface_hub", huggingface_hub.__version__, "sent", sent["response_format"], "model", sent["model"])
sys.exit(0 if sent["response_format"] == {"type": "json_object", "value": schema} and sent["model"] == "dummy" else 1)
PY

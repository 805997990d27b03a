#!/usr/bin/env bash
# The openai client does not try again at all when Retry-After says more than 120 seconds.
# Seen 2026-11-29 with openai 3.57.0 and max_retries=1: a 429 with `Retry-After: 1` is tried again after a second; with `Retry-After: 121` the error is raised
# at once, where no header at all would have meant another try within seconds. A busy server must not say more than 120.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" openai==3.57.0
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


import openai

STREAM = {"Content-Type": "text/event-stream"}
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"content": "hi"}}]}
CHUNK = json.dumps(CHUNK)


def read(frames):
    """The pieces of text that a streamed completion gives, or the error's name."""
    url, _ = serve(lambda n, body: (200, STREAM, frames.encode()))
    client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
    try:
        stream = client.chat.completions.create(model="m", messages=[], stream=True)
        return [chunk.choices[0].delta.content for chunk in stream]
    except Exception as error:
        return type(error).__name__


tries = {}
for seconds in ("1", "121", None):
    headers = JSON if seconds is None else {**JSON, "Retry-After": seconds}
    url, asked = serve(lambda n, body: (429, headers, b'{"error": {"message": "busy"}}'))
    try:
        openai.OpenAI(base_url=url, api_key="k", max_retries=1).models.list()
    except openai.RateLimitError:
        tries[seconds] = len(asked)
    print(f"openai {openai.__version__}, Retry-After {seconds}: {tries.get(seconds)} requests")
sys.exit(0 if tries == {"1": 2, "121": 1, None: 2} else 1)
PY

#!/usr/bin/env bash
# tritonclient writes into the dictionary of headers that it is given, so a later call sends what belonged to an earlier one.
# Seen 2026-11-30 with tritonclient 2.73.0 (http): after `infer(..., headers=h, request_compression_algorithm="gzip")` with binary data, `h` has
# Content-Encoding and Inference-Header-Content-Length. The next `infer(..., headers=h)` without compression and with its numbers in JSON sends both
# with a body that is neither compressed nor followed by binary data. A server that believes them cannot read it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" tritonclient[http]==2.73.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import http.server
import json
import sys
import threading

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput

asked = []
ANSWER = json.dumps({"model_name": "m", "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1]}]}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)


def numbers(*, binary):
    made = InferInput("x", [3], "FP32")
    made.set_data_from_numpy(np.arange(3, dtype=np.float32), binary_data=binary)
    return [made]


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = InferenceServerClient(f"127.0.0.1:{server.server_port}")
own = {"X-Tenant": "a"}
client.infer("m", numbers(binary=True), headers=own, request_compression_algorithm="gzip")
client.infer("m", numbers(binary=False), headers=own)
headers, body = asked[1]
print("the caller's dictionary now:", own)
print("the second request:", {name: headers.get(name) for name in ("Content-Encoding", "Inference-Header-Content-Length")}, body[:40])
is_plain = json.loads(body)["inputs"][0]["data"] == [0.0, 1.0, 2.0]
sys.exit(0 if is_plain and headers.get("Content-Encoding") == "gzip" and "Inference-Header-Content-Length" in headers else 1)
PY

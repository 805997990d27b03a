#!/usr/bin/env bash
# MLServer's adaptive batching gives a request the parameters of another that happens to share its batch.
# Seen 2026-11-29 with mlserver 1.7.1: a model multiplies by the request's parameter `scale`, 1 where it is missing. Two requests at once, one with scale 10 and one
# without, are both multiplied by 10. One after the other they are answered right. Whatever a runtime reads from a request's parameters, such as a
# temperature or a threshold, so depends on who else is asking.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" mlserver==1.7.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

pathlib.Path("runtime.py").write_text(
    """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Scale(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        given = {} if payload.parameters is None else payload.parameters.model_dump(exclude_none=True)
        x = NumpyCodec.decode_input(payload.inputs[0]).astype("float32")
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", x * given.get("scale", 1))])
"""
)
PORT = 18_931
model = {"name": "m", "implementation": "runtime.Scale", "max_batch_size": 2, "max_batch_time": 5.0}
pathlib.Path("model-settings.json").write_text(json.dumps(model))
ports = {"http_port": PORT, "grpc_port": PORT + 1, "metrics_port": PORT + 2, "host": "127.0.0.1", "parallel_workers": 0}
pathlib.Path("settings.json").write_text(json.dumps(ports))


def ask(path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read()


def together(*bodies):
    """Asked at the same time, in this order, so that they share a batch of two. -> the answers' numbers."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = []
        for body in bodies:
            waiting.append(pool.submit(ask, "/v2/models/m/infer", body))
            time.sleep(0.3)
        return [json.loads(answer.result())["outputs"][0]["data"] for answer in waiting]


def one(numbers, datatype="FP32", **more):
    return {"inputs": [{"name": "x", "shape": [1, len(numbers)], "datatype": datatype, "data": numbers}], **more}


server = subprocess.Popen([os.path.join(os.path.dirname(sys.executable), "mlserver"), "start", "."], env={**os.environ, "PYTHONPATH": "."}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    for _ in range(300):
        try:
            ask("/v2/models/m/ready")
            break
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    scaled, plain = together(one([1, 2], parameters={"scale": 10}), one([3, 4]))
finally:
    server.terminate()
    server.wait()
print(f"(1, 2) with scale 10: {scaled}; (3, 4) without: {plain}")
sys.exit(0 if scaled == [10, 20] and plain == [30, 40] else 1)
PY

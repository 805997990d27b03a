#!/usr/bin/env bash
# LitServe answers 500 to every request of a batch where one of them cannot be decoded.
# Seen 2026-11-29 with litserve 0.2.19: with max_batch_size=4, a text where a number belongs is refused by decode_request, which sees one request at a time; the three
# good requests beside it get 500 as well. Without company they are answered.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" litserve==0.2.19
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

PORT = 18_941
pathlib.Path("server.py").write_text(
    f"""
import litserve


class Double(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return float(request["x"])

    def batch(self, inputs):
        return inputs

    def predict(self, inputs):
        return [2 * x for x in inputs]

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {{"y": output}}


if __name__ == "__main__":
    server = litserve.LitServer(Double(max_batch_size=4, batch_timeout=2.0), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port={PORT}, generate_client_file=False, log_level="error")
"""
)


def status(x):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/predict", json.dumps({"x": x}).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def statuses(*values):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(status, values))


# A session of its own: the processes that it starts outlive it.
server = subprocess.Popen([sys.executable, "server.py"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
try:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5)
            break
        except OSError:
            time.sleep(0.2)
    good, mixed = statuses(1, 2, 3, 4), statuses(1, 2, "not a number", 4)
finally:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
print(f"four good requests: {good}; one of four is bad: {mixed}")
sys.exit(0 if good == [200] * 4 and mixed == [500] * 4 else 1)
PY

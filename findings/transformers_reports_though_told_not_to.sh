#!/usr/bin/env bash
# A Hugging Face Trainer with report_to="none" still posts its progress where KUBEFLOW_TRAINER_SERVER_URL is set.
# Seen 2026-11-29 with transformers 5.24.0, torch 2.15.0: TrainingArguments adds the reporter by itself when the variable is there; each post has
# trainerStatus with progressPercentage and metrics, and carries the content of the file in KUBEFLOW_TRAINER_SERVER_TOKEN. Whoever
# runs a script in an environment with that variable is told about it, whatever the script says.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" transformers==5.24.0 torch==2.15.0 accelerate==1.15.0 numpy==2.4.6
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


import os
import pathlib

url, asked = serve(lambda n, body: (200, JSON, b"{}"))
pathlib.Path("token").write_text("secret-of-a-test")
os.environ |= {"KUBEFLOW_TRAINER_SERVER_URL": url + "/status", "KUBEFLOW_TRAINER_SERVER_TOKEN": "token", "HF_HUB_OFFLINE": "1"}
import torch
import transformers
from transformers import Trainer, TrainingArguments

transformers.logging.set_verbosity_error()


class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, labels):
        return {"loss": ((self.w * x - labels) ** 2).mean()}


rows = [{"x": float(i), "labels": 2.0 * i} for i in range(8)]
arguments = TrainingArguments("out", report_to="none", num_train_epochs=1, logging_steps=1, use_cpu=True, save_strategy="no", disable_tqdm=True)
trainer = Trainer(Line(), arguments, train_dataset=rows)
trainer.train()
posts = [(headers.get("Authorization"), sorted(json.loads(body).get("trainerStatus", {}))) for method, _, headers, body in asked if method == "POST"]
print("transformers", transformers.__version__, "report_to", arguments.report_to, "posts", len(posts), posts[:1])
sys.exit(0 if posts and posts[0][0] == "Bearer secret-of-a-test" and "progressPercentage" in posts[0][1] else 1)
PY

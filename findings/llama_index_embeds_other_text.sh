#!/usr/bin/env bash
# LlamaIndex's OpenAIEmbedding replaces line ends by spaces before it sends a text: what is embedded is not what was given.
# Seen 2026-11-29 with llama-index-embeddings-openai 0.7.0: "a\nb" is sent as "a b". Vectors of code, tables and verse so differ from those of any other client of the
# same server, and a cache by digest of the text never agrees.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" llama-index-embeddings-openai==0.7.0
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


from llama_index.embeddings.openai import OpenAIEmbedding

ANSWER = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [1.0, 2.0]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
url, asked = serve(lambda n, body: (200, JSON, json.dumps(ANSWER).encode()))
OpenAIEmbedding(api_base=url, api_key="k", model_name="own-model").get_text_embedding("def f():\n    return 1\n")
sent = json.loads(asked[0][3])["input"]
print("given", ["def f():\n    return 1\n"], "sent", sent)
sys.exit(0 if sent == ["def f():     return 1 "] or sent == ["def f():     return 1"] else 1)
PY

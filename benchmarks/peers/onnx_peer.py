"""ONNX Runtime in process: the limit of every server. No server, no queue, rows at hand.

onnx_peer.py MODEL THREADS SECONDS BATCH …    prints {batch: {"per_s", "p50_ms", "p99_ms", "cpu_ms"}},
                                              where cpu_ms is that of a row
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from counted_model import CountedModel

N_FEATURES = 64


def measured(model: CountedModel, batch: int, seconds: float) -> dict[str, float]:
    rows = np.random.default_rng(0).standard_normal((batch, N_FEATURES)).astype(np.float32)
    model(rows)
    took = list[float]()
    began, cpu = time.perf_counter(), time.process_time()
    while (now := time.perf_counter()) - began < seconds:
        model(rows)
        took.append(time.perf_counter() - now)
    ended, n = time.perf_counter(), batch * len(took)
    took.sort()
    return {
        "per_s": n / (ended - began),
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[round(0.99 * (len(took) - 1))] * 1000,
        "cpu_ms": (time.process_time() - cpu) * 1000 / n,
    }


def main() -> None:
    _, file, threads, seconds, *batches = sys.argv
    with tempfile.TemporaryDirectory(prefix="hr-bench-") as folder:
        model = CountedModel(file, int(threads), str(Path(folder) / "counts"))
        print(json.dumps({batch: measured(model, int(batch), float(seconds)) for batch in batches}))


if __name__ == "__main__":
    main()

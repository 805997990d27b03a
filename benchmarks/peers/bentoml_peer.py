# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["bentoml==1.4.40", "onnxruntime==1.31.1"]
# ///
"""BentoML with adaptive batching and one worker. It sends no usage reports and logs no requests.

bentoml_peer.py PORT MODEL THREADS COUNTS
"""

import os
import sys
from pathlib import Path

import bentoml
import numpy as np
from counted_model import CountedModel

MAX_BATCH, MAX_LATENCY_MS = 32, 10_000
# Its worker is another process, which imports this file.
ARGUMENTS = "HR_BENCH_MODEL"


@bentoml.service(
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    traffic={"timeout": 60},
)
class Table:
    def __init__(self) -> None:
        model, threads, counts = os.environ[ARGUMENTS].split("\n")
        self._model = CountedModel(model, int(threads), counts)

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=MAX_LATENCY_MS)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self._model(rows.astype(np.float32))


if __name__ == "__main__":
    _, port, *rest = sys.argv
    os.environ |= {ARGUMENTS: "\n".join(rest), "BENTOML_DO_NOT_TRACK": "True"}
    from bentoml_cli.cli import cli

    here = Path(__file__)
    cli(["serve", f"{here.stem}:Table", "--working-dir", str(here.parent), "--port", port, "--host", "127.0.0.1"])

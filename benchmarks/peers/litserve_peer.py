# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["litserve==0.2.19", "onnxruntime==1.31.1"]
# ///
"""LitServe with batches, its fast queue and one worker.

litserve_peer.py PORT MODEL THREADS COUNTS
"""

import sys
from typing import Any

import litserve
import numpy as np
from counted_model import CountedModel

MAX_BATCH, MAX_WAIT_S = 32, 0.002


class Table(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        _, _, model, threads, counts = sys.argv
        self._model = CountedModel(model, int(threads), counts)

    def decode_request(self, request: dict[str, Any], **_: Any) -> Any:
        return np.asarray(request["rows"], dtype=np.float32)

    def batch(self, inputs: list[Any]) -> Any:
        # A request may have several rows.
        return np.concatenate(inputs), np.cumsum([len(rows) for rows in inputs])[:-1]

    def predict(self, batch: Any, **_: Any) -> Any:
        rows, ends = batch
        return np.split(self._model(rows), ends)

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: Any, **_: Any) -> dict[str, Any]:
        return {"prediction": output.tolist()}


if __name__ == "__main__":
    api = Table(max_batch_size=MAX_BATCH, batch_timeout=MAX_WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )

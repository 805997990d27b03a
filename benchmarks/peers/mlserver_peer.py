# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["mlserver==1.7.1", "onnxruntime==1.31.1"]
# ///
"""MLServer with adaptive batching, and the model in the server's own process, which was faster here
than a process beside it.

mlserver_peer.py PORT MODEL THREADS COUNTS
"""

import asyncio
import os
import socket
import sys
import tempfile

from counted_model import CountedModel
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

MAX_BATCH, MAX_WAIT_S = 32, 0.002


class Table(MLModel):
    async def load(self) -> bool:
        _, _, model, threads, counts = sys.argv
        self._model = CountedModel(model, int(threads), counts)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        outputs = [NumpyCodec.encode_output("prediction", self._model(rows))]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def main() -> None:
    # It writes files of metrics into the working folder, and looks for models there.
    os.chdir(tempfile.mkdtemp(prefix="hr-mlserver-"))
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=int(sys.argv[1]),
        grpc_port=free_port(),
        metrics_endpoint=None,
        parallel_workers=0,
    )
    table = ModelSettings(
        name="table", implementation=Table, max_batch_size=MAX_BATCH, max_batch_time=MAX_WAIT_S, parallel_workers=0
    )
    await MLServer(settings).start([table])


if __name__ == "__main__":
    asyncio.run(main())

"""The model of benchmarks.serving in a peer's process. It counts its runs where the benchmark can
read them without asking the peer. Knows no server. Peers in environments of their own use it too.
"""

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

COUNTS = struct.Struct("<qq")


class CountedModel:
    def __init__(self, model: str, threads: int, counts: str) -> None:
        """counts: the file that gets two numbers, the runs and their rows."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # As in Headrace: threads that spin between runs take the cores away from the server.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        Path(counts).write_bytes(bytes(COUNTS.size))
        with open(counts, "r+b") as file:
            self._counts = mmap.mmap(file.fileno(), COUNTS.size)

    def __call__(self, rows: "np.ndarray[Any, np.dtype[np.float32]]") -> "np.ndarray[Any, np.dtype[np.float32]]":
        """-> one prediction for each row"""
        [predictions] = self._session.run(["prediction"], {"features": rows})
        n_runs, n_rows = COUNTS.unpack_from(self._counts)
        COUNTS.pack_into(self._counts, 0, n_runs + 1, n_rows + len(rows))
        return np.asarray(predictions)

"""Runs the graph of a decoder over the slots of its cache. It knows no sequences, and not which run comes next.

Past and present share the memory of a slot: the graph reads what is there, and writes the new tokens behind it. A run
reads either several tokens of one slot, or one token of each of the slots 0 to n, because the attention on the CPU
takes no more.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference_worker.engines.decoding.form import DecoderForm
from inference_worker.engines.decoding.memory import CacheMemory
from inference_worker.engines.session import BoundRun, OrtSession, Stop


class Runner:
    def __init__(self, session: OrtSession, form: DecoderForm, memory: CacheMemory) -> None:
        self._session, self._form, self._memory = session, form, memory
        self._runs: dict[tuple[int, int], BoundRun] = {}
        self._logits = np.empty((0, form.vocabulary), form.logits_dtype)

    def read(self, slot: int, tokens: Sequence[int], n_cached: int, stop: Stop) -> NDArray[np.float32]:
        """Read tokens behind the n_cached ones of a slot. -> logits of the next token [vocabulary], valid until the
        next run. AttemptFailed model_failed."""
        ids = np.array([tokens], np.int64)
        mask = np.ones((1, n_cached + len(tokens)), np.int64)
        n_logits = 1 if self._form.prunes_logits else len(tokens)
        logits: NDArray[np.float32] = self._run(slot, ids, mask, n_logits, stop)[-1]
        return logits

    def write(
        self, tokens: Sequence[int], n_cached: Sequence[int], stop: Stop, *, smallest: int = 1
    ) -> NDArray[np.float32]:
        """Read one token behind each of the slots 0 to n. -> logits of the next token [n, vocabulary], valid until the
        next run. smallest: how many slots to run at least; those behind the others must be free. AttemptFailed
        model_failed."""
        rows = max(smallest, len(tokens))
        ids, lengths = np.zeros((rows, 1), np.int64), np.ones((rows, 1), np.int64)
        ids[: len(tokens), 0] = tokens
        lengths[: len(tokens), 0] = n_cached
        lengths[: len(tokens)] += 1
        mask = (np.arange(lengths.max()) < lengths).astype(np.int64)
        return self._run(0, ids, mask, 1, stop)[: len(tokens)]

    def _run(
        self, slot: int, ids: NDArray[np.int64], mask: NDArray[np.int64], n_logits: int, stop: Stop
    ) -> NDArray[np.float32]:
        rows = len(ids)
        run = self._runs.get((slot, rows)) or self._bound(slot, rows)
        if len(self._logits) < rows * n_logits:
            self._logits = np.empty((rows * n_logits, self._form.vocabulary), self._form.logits_dtype)
        run.read("input_ids", ids.ctypes.data, ids.dtype, ids.shape)
        run.read("attention_mask", mask.ctypes.data, mask.dtype, mask.shape)
        logits = self._logits[: rows * n_logits]
        run.write("logits", logits.ctypes.data, logits.dtype, (rows, n_logits, self._form.vocabulary))
        run.run(stop)
        return logits.astype(np.float32, copy=False)

    def _bound(self, slot: int, rows: int) -> BoundRun:
        run, memory = self._session.bound_run(), self._memory
        shape = memory.shape(rows)
        for part, (past, present) in enumerate(self._form.names):
            address = memory.address(part, slot)
            run.read(past, address, self._form.dtype, shape)
            run.write(present, address, self._form.dtype, shape)
        self._runs[slot, rows] = run
        return run

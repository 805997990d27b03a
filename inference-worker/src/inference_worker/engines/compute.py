"""Runs one session in a thread of its own, one run at a time, each within a time limit. Knows no callers.

ONNX Runtime uses several threads for one run, so a second run at the same time would compete with it for the cores.
A run that is told to stop ends after the operator that it is in. Until then, no other run begins.
"""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeAlias

import anyio
import numpy as np
from shared_schemas.errors import WorkerUnfit
from shared_schemas.service.failpoints import failpoint

from inference_worker.engines.invariance import RowSizes
from inference_worker.engines.session import OrtSession, Stop
from inference_worker.tensors import Arrays, Item, WholeTensors, split, stack

# An item, its first row in the run, and the row after its last.
Share: TypeAlias = tuple[Item, int, int]


class _Run:
    def __init__(self, shares: Sequence[Share], loop: asyncio.AbstractEventLoop) -> None:
        self.shares, self.stop, self.ended = shares, Stop(), anyio.Event()
        self.outputs: list[Arrays] | None = None
        self.error: Exception | None = None
        self._loop = loop

    def do(self, session: OrtSession, sizes: RowSizes) -> None:
        """Called in the thread."""
        try:
            self.outputs = _outputs(session, sizes, self.shares, self.stop)
        except Exception as error:  # whoever waits for the run decides what it means
            self.error = error
        # The loop is closed if its process ends while a run cannot be stopped.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.ended.set)


class ComputeThread:
    """A context manager: the thread ends with it, or as soon as its last run has ended."""

    def __init__(self, session: OrtSession, sizes: RowSizes | None = None, *, stopping_s: float = 30.0) -> None:
        """sizes: that runs are padded to, with copies of a row.
        stopping_s: how long a run may go on after it was told to stop. After that, only a new process helps."""
        self._session, self._sizes, self._stopping_s = session, sizes or RowSizes(), stopping_s
        self._runs: SimpleQueue[_Run | None] = SimpleQueue()
        self._last: _Run | None = None

    def __enter__(self) -> "ComputeThread":
        # A run that cannot be stopped must not keep the process from ending.
        threading.Thread(target=self._work, name="compute", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._last is not None:
            self._last.stop.now()
        self._runs.put(None)

    async def run(self, shares: Sequence[Share], *, limit_s: float) -> list[Arrays]:
        """-> the outputs of each share, as its item wants them. TimeoutError after limit_s, without the time that an
        earlier run takes to stop; WorkerUnfit if that does not stop; the error of the run. To be called once at a
        time."""
        if self._last is not None and not self._last.ended.is_set():
            with anyio.move_on_after(self._stopping_s):
                await self._last.ended.wait()
            if not self._last.ended.is_set():
                raise WorkerUnfit
        self._last = run = _Run(shares, asyncio.get_running_loop())
        self._runs.put(run)
        try:
            with anyio.move_on_after(limit_s):
                await run.ended.wait()
        finally:
            if run.ended.is_set():
                self._last = None
            else:
                run.stop.now()
        if run.error is not None:
            raise run.error
        if run.outputs is None:
            raise TimeoutError
        return run.outputs

    def _work(self) -> None:
        while (run := self._runs.get()) is not None:
            run.do(self._session, self._sizes)
            # While no run waits, the last one must not stay in memory.
            del run


def _outputs(session: OrtSession, sizes: RowSizes, shares: Sequence[Share], stop: Stop) -> list[Arrays]:
    failpoint("session_run")
    rows = stack([item.rows(first, end) for item, first, end in shares])
    if isinstance(shares[0][0], WholeTensors):
        return [session.run(rows, stop)]
    n_rows = [end - first for _, first, end in shares]
    n_more = sizes.padded(sum(n_rows)) - sum(n_rows)
    if n_more:
        rows = stack([rows, {name: np.repeat(array[-1:], n_more, axis=0) for name, array in rows.items()}])
    parts = split(session.run(rows, stop), [*n_rows, n_more])
    return [item.answer(part) for (item, _, _), part in zip(shares, parts, strict=False)]

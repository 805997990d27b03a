"""Runs one loaded model in batches. Callers hand in rows; one loop forms batches, another runs them in a thread. An
item of whole tensors counts as a row.

A channel that holds one batch connects the two loops. While the model is busy, only a full batch is formed ahead; a
batch that could still grow stays open until the model is free. So batches grow under load, and an idle model starts at
once. The engine knows neither jobs nor what the tensors mean.
"""

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from shared_schemas.errors import AttemptFailed, HeadraceError, WorkerUnfit

from inference_worker import metrics
from inference_worker.engines.batcher import Batcher, BatchLimits
from inference_worker.engines.session import OrtSession
from inference_worker.tensors import Arrays, Item, split, stack

log = structlog.get_logger()


class _Call:
    """A row, and the caller who waits for its outputs."""

    __slots__ = ("cancelled", "done", "error", "outputs", "row")

    def __init__(self, row: Item) -> None:
        self.row = row
        self.done = anyio.Event()
        self.cancelled = False
        self.outputs: Arrays = {}
        self.error: HeadraceError | None = None

    def succeed(self, outputs: Arrays) -> None:
        self.outputs = outputs
        self.done.set()

    def fail(self, error: HeadraceError) -> None:
        self.error = error
        self.done.set()


class BatchingEngine:
    def __init__(self, session: OrtSession, limits: BatchLimits, *, run_timeout_s: float = 60.0) -> None:
        """run_timeout_s: a run that takes longer is stopped, and its callers get model_timeout."""
        self._session = session
        self._run_timeout_s = run_timeout_s
        self._batcher: Batcher[_Call] = Batcher(limits)
        self._wake = anyio.Event()
        self._is_busy = False
        self._is_open = False
        self._known_good_row: Item | None = None
        self._report_lost = anyio.Event()
        # ONNX Runtime uses several threads for one run. A second run at the same time would compete for them.
        self._compute_thread = anyio.CapacityLimiter(1)
        self.n_runs = 0
        self.n_rows = 0

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, then fail the callers who still wait with a retryable error. Reports that it has
        started once it accepts rows."""
        sending, receiving = anyio.create_memory_object_stream[list[_Call]](1)
        self._is_open = True
        try:
            async with sending, receiving, anyio.create_task_group() as tasks:
                tasks.start_soon(self._form_batches, sending)
                tasks.start_soon(self._run_batches, receiving)
                task_status.started()
        finally:
            self._is_open = False
            for call in self._batcher.drain():
                call.fail(_stopping())

    async def infer(self, row: Item) -> Arrays:
        """The outputs for one row, without the batch dimension, or for one item of whole tensors.

        AttemptFailed: model_failed if the model cannot process this row, even alone; model_timeout;
        worker_stopping (retryable). WorkerUnfit if it no longer processes a row that it processed
        before. If the caller is cancelled, its row leaves the queue."""
        if not self._is_open:
            raise _stopping()
        call = _Call(row)
        self._batcher.append(call, shape=row.shape, elements=row.n_elements, now=anyio.current_time())
        self._wake.set()
        try:
            await call.done.wait()
        except BaseException:
            # The caller was cancelled just before it received the error.
            if isinstance(call.error, WorkerUnfit):
                self._report_lost.set()
            raise
        finally:
            call.cancelled = True
        if call.error is not None:
            raise call.error
        return call.outputs

    async def _form_batches(self, sending: MemoryObjectSendStream[list[_Call]]) -> None:
        while True:
            now = anyio.current_time()
            batch = self._batcher.next_batch(now, only_full=self._is_busy)
            if batch:
                self._is_busy = True
                await sending.send(batch)
                continue
            self._wake = anyio.Event()
            wait_s = None if self._is_busy else self._batcher.wait_s(now)
            with anyio.move_on_after(wait_s):
                await self._wake.wait()

    async def _run_batches(self, receiving: MemoryObjectReceiveStream[list[_Call]]) -> None:
        try:
            async for batch in receiving:
                try:
                    await self._run_batch(batch)
                finally:
                    _fail_unanswered(batch)
                if receiving.statistics().current_buffer_used == 0:
                    self._is_busy = False
                    self._wake.set()
        finally:
            while receiving.statistics().current_buffer_used:
                _fail_unanswered(receiving.receive_nowait())

    async def _run_batch(self, batch: list[_Call]) -> None:
        """Complete every call. A batch that fails is split in halves until each row at fault fails alone."""
        left = [batch]
        while left:
            calls = [call for call in left.pop() if not call.cancelled]
            if not calls:
                continue
            metrics.BATCH_ROWS.observe(len(calls))
            try:
                outputs = await self._run_rows([call.row for call in calls])
            except Exception as error:  # every failure of a run goes to its callers
                if len(calls) > 1 and not isinstance(error, TimeoutError):
                    left += [calls[len(calls) // 2 :], calls[: len(calls) // 2]]
                    continue
                log.warning("run_failed", error=str(error.__cause__ or error))
                if not await self._still_runs():
                    await self._report_unfit(calls[0])
                    left.append(calls[1:])
                    continue
                for call in calls:
                    call.fail(_failure(error))
            else:
                self._known_good_row = self._known_good_row or calls[0].row
                for call, row_outputs in zip(calls, outputs, strict=True):
                    call.succeed(row_outputs)

    async def _still_runs(self) -> bool:
        """Whether the model still processes a row that it processed before. If not, the fault is not in the rows."""
        if self._known_good_row is None:
            return True
        try:
            await self._run_rows([self._known_good_row])
        except Exception as error:  # the row is good, so the session is broken
            log.error("session_broken", error=str(error.__cause__ or error))
            return False
        return True

    async def _report_unfit(self, call: _Call) -> None:
        """Tell one caller that the worker is unfit, and leave the others waiting. The worker then ends, and gives the
        jobs back without counting an attempt. Returns only if the caller was cancelled before it received the error."""
        self._report_lost = anyio.Event()
        call.fail(WorkerUnfit())
        if not call.cancelled:
            await self._report_lost.wait()

    async def _run_rows(self, rows: list[Item]) -> list[Arrays]:
        self.n_runs += 1
        self.n_rows += len(rows)
        try:
            with anyio.fail_after(self._run_timeout_s):
                return await to_thread.run_sync(
                    self._run_in_thread, rows, limiter=self._compute_thread, abandon_on_cancel=True
                )
        except BaseException:
            # If the wait ends early, the thread keeps running. It holds the limiter until its run has ended.
            self._session.terminate()
            raise

    def _run_in_thread(self, rows: list[Item]) -> list[Arrays]:
        return split(self._session.run(stack(rows)), rows)


def _fail_unanswered(batch: list[_Call]) -> None:
    for call in batch:
        if not call.done.is_set():
            call.fail(_stopping())


def _failure(error: Exception) -> HeadraceError:
    if isinstance(error, TimeoutError):
        return AttemptFailed("model_timeout", "the model took too long")
    if isinstance(error, HeadraceError):
        return error
    return AttemptFailed("model_failed", "the model could not process this input")


def _stopping() -> AttemptFailed:
    return AttemptFailed("worker_stopping", "the model was unloaded before it ran", retryable=True)

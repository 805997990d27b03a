"""Runs one loaded model in batches. Callers hand in items of one or more rows; one loop forms batches of their rows,
another runs them.

A channel that holds one batch connects the two loops. While the model is busy, only a full batch is formed ahead; a
batch that could still grow stays open until the model is free. So batches grow under load, and an idle model starts at
once. The engine knows neither jobs nor what the tensors mean.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import anyio
import msgspec
import numpy as np
import structlog
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from shared_schemas.errors import AttemptFailed, HeadraceError, WorkerUnfit

from inference_worker import metrics
from inference_worker.engines import batcher
from inference_worker.engines.batcher import Batcher, BatchLimits, n_rows_of
from inference_worker.engines.compute import ComputeThread, Share
from inference_worker.engines.invariance import UNKNOWN, Invariance
from inference_worker.engines.session import OrtSession
from inference_worker.tensors import Arrays, Item, Row, Rows, stack

log = structlog.get_logger()

# The largest row that is kept to test the session with.
_KEPT_BYTES = 4 << 20
# How many rows of a batch that took too long may take the whole limit once more, each alone.
_LONG_RUNS = 2


class RowOutputs(NamedTuple):
    """outputs: of the rows without an error, in order; by name, each [rows, ...]. errors: by row."""

    outputs: Arrays
    errors: dict[int, HeadraceError]


class _Call:
    """An item, and the caller who waits for its outputs. left: how many of its rows have no outcome yet."""

    __slots__ = ("_found", "cancelled", "done", "error", "errors", "item", "left", "outputs")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.done = anyio.Event()
        self.cancelled = False
        self.left = item.n_rows
        self.outputs: Arrays = {}
        self.errors: dict[int, HeadraceError] = {}
        self.error: HeadraceError | None = None
        self._found: list[tuple[int, Arrays]] = []

    def succeed(self, part: "_Part", outputs: Arrays) -> None:
        self._found.append((part.first, outputs))
        self._count(part)

    def fail_rows(self, part: "_Part", error: HeadraceError) -> None:
        self.errors |= dict.fromkeys(range(part.first, part.end), error)
        self._count(part)

    def fail(self, error: HeadraceError) -> None:
        self.error = error
        self.done.set()

    def _count(self, part: "_Part") -> None:
        self.left -= part.n_rows
        if self.left or self.done.is_set():
            return
        found = [outputs for _, outputs in sorted(self._found, key=lambda each: each[0])]
        try:
            self.outputs = stack(found) if found else {}
        except ValueError:
            self.error = AttemptFailed("model_failed", "the outputs of the rows of one input have different shapes")
        self.done.set()


_Part: TypeAlias = batcher.Part[_Call]
_Batch: TypeAlias = list[_Part]


class BatchingEngine:
    def __init__(
        self,
        session: OrtSession,
        limits: BatchLimits,
        *,
        run_timeout_s: float = 60.0,
        invariance: Invariance = UNKNOWN,
    ) -> None:
        """invariance: of the model; its runs have sizes in which a row has the same bits, if there are any.
        run_timeout_s: a run that takes longer is stopped. Its rows then run one by one, and those that take too
        long alone get model_timeout."""
        self._run_timeout_s = run_timeout_s
        self.invariance = invariance
        if invariance.sizes is not None and invariance.sizes.largest is not None:
            max_batch = min(limits.max_batch, invariance.sizes.largest)
            limits = msgspec.structs.replace(limits, max_batch=max_batch)
        self._batcher: Batcher[_Call] = Batcher(limits)
        self._compute = ComputeThread(session, invariance.sizes)
        self._wake = anyio.Event()
        self._is_busy = False
        self._n_came = 0
        self._is_open = False
        self._known_good: Item | None = None
        self._report_lost = anyio.Event()
        self.n_runs = 0
        self.n_rows = 0

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, then fail the callers who still wait with a retryable error. Reports that it has
        started once it accepts rows."""
        sending, receiving = anyio.create_memory_object_stream[_Batch](1)
        self._is_open = True
        try:
            with self._compute:
                async with sending, receiving, anyio.create_task_group() as tasks:
                    tasks.start_soon(self._form_batches, sending)
                    tasks.start_soon(self._run_batches, receiving)
                    task_status.started()
        finally:
            self._is_open = False
            for call in self._batcher.drain():
                call.fail(_stopping())

    async def infer(self, item: Item, *, alone: bool = False) -> Arrays:
        """The outputs for an item: without the batch dimension for a Row, [rows, ...] for Rows. alone: each of its rows
        runs without others.

        AttemptFailed: model_failed if the model cannot process this item, even alone; model_timeout;
        worker_stopping (retryable). WorkerUnfit if it no longer processes a row that it processed
        before. If the caller is cancelled, its rows leave the queue."""
        call = await self._answered(item, alone=alone)
        if call.errors:
            raise call.errors[min(call.errors)]
        return call.outputs

    async def infer_rows(self, rows: Rows, *, alone: bool = False) -> RowOutputs:
        """As infer, but a row that the model cannot process fails alone."""
        call = await self._answered(rows, alone=alone)
        return RowOutputs(call.outputs, call.errors)

    async def _answered(self, item: Item, *, alone: bool) -> _Call:
        if not self._is_open:
            raise _stopping()
        call = _Call(item)
        # A shape of its own, with rows that fill a run.
        shape, elements = (call, sys.maxsize) if alone else (item.shape, item.n_elements)
        self._batcher.append(call, shape=shape, elements=elements, now=anyio.current_time(), rows=call.left)
        self._n_came += 1
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
        return call

    async def _form_batches(self, sending: MemoryObjectSendStream[_Batch]) -> None:
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
            await self._until_all_have_come()

    async def _until_all_have_come(self) -> None:
        """Callers who began together come within a few turns of the event loop, a few in each turn. An idle model
        would run the first of them alone."""
        n_before = -1
        while n_before != self._n_came:
            n_before = self._n_came
            await checkpoint()

    async def _run_batches(self, receiving: MemoryObjectReceiveStream[_Batch]) -> None:
        try:
            async for batch in receiving:
                try:
                    await self._run_batch(batch)
                except BaseException:
                    _fail_unanswered(batch)
                    raise
                if receiving.statistics().current_buffer_used == 0:
                    self._is_busy = False
                    self._wake.set()
        finally:
            while receiving.statistics().current_buffer_used:
                _fail_unanswered(receiving.receive_nowait())

    async def _run_batch(self, batch: _Batch) -> None:
        """Give each row an outcome. A batch that fails is split in halves until each row at fault fails alone."""
        left = [batch]
        while left:
            parts = [part for part in left.pop() if not part.item.cancelled]
            if not parts:
                continue
            try:
                await self._run_parts(parts, limit_s=self._run_timeout_s)
            except WorkerUnfit:
                await self._report_unfit(parts[0].item)
                left.append(parts)
            except Exception as error:  # every failure of a run goes to its callers
                if n_rows_of(parts) == 1:
                    await self._fail_row(parts[0], error)
                elif isinstance(error, TimeoutError):
                    await self._run_one_by_one(parts)
                else:
                    left += reversed(batcher.halves(parts))

    async def _run_one_by_one(self, parts: _Batch) -> None:
        """Give each row of a batch that took too long an outcome. First each row gets its share of the limit of one
        run. Of those that need more, _LONG_RUNS get the whole limit, and the others fail, so that a batch takes
        _LONG_RUNS + 2 limits at most."""
        rows = [batcher.Part(part.item, place, place + 1) for part in parts for place in range(part.first, part.end)]
        log.warning("run_timed_out", rows=len(rows))
        share_s = self._run_timeout_s / len(rows)
        slow = [row for row in rows if not await self._ran_within(row, share_s)]
        for row in slow[:_LONG_RUNS]:
            if not await self._ran_within(row, self._run_timeout_s):
                await self._fail_row(row, TimeoutError())
        for row in slow[_LONG_RUNS:]:
            # The row may be right, and slow because of others. A list would run as a whole again, with these others.
            row.item.fail_rows(row, _timed_out(retryable=row.item.item.n_rows == 1))

    async def _ran_within(self, row: _Part, limit_s: float) -> bool:
        """False if the row took longer and has no outcome yet."""
        if row.item.cancelled:
            return True
        try:
            await self._run_parts([row], limit_s=limit_s)
        except TimeoutError:
            return False
        except Exception as error:  # as above
            await self._fail_row(row, error)
        return True

    async def _fail_row(self, row: _Part, error: Exception) -> None:
        log.warning("run_failed", error=str(error.__cause__ or error) or type(error).__name__)
        if isinstance(error, WorkerUnfit) or not await self._still_runs():
            await self._report_unfit(row.item)
        else:
            row.item.fail_rows(row, _failure(error))

    async def _still_runs(self) -> bool:
        """Whether the model still processes a row that it processed before. If not, the fault is not in the rows."""
        if self._known_good is None:
            return True
        try:
            await self._run_shares([(self._known_good, 0, 1)], limit_s=self._run_timeout_s)
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

    async def _run_parts(self, parts: _Batch, *, limit_s: float) -> None:
        outputs = await self._run_shares([(part.item.item, part.first, part.end) for part in parts], limit_s=limit_s)
        self._known_good = self._known_good or _kept(parts[0])
        for part, part_outputs in zip(parts, outputs, strict=True):
            part.item.succeed(part, part_outputs)

    async def _run_shares(self, shares: Sequence[Share], *, limit_s: float) -> list[Arrays]:
        n_rows = sum(end - first for _, first, end in shares)
        metrics.BATCH_ROWS.observe(n_rows)
        self.n_runs += 1
        self.n_rows += n_rows
        return await self._compute.run(shares, limit_s=limit_s)


def _kept(part: _Part) -> Item | None:
    """A copy of one row that ran, unless it is large."""
    item = part.item.item
    if not isinstance(item, Row | Rows):
        return item if _size(item.inputs) <= _KEPT_BYTES else None
    row = {name: array[0] for name, array in item.rows(part.first, part.first + 1).items()}
    if _size(row) > _KEPT_BYTES:
        return None
    return Row({name: np.array(array) for name, array in row.items()})


def _size(arrays: Arrays) -> int:
    """In bytes; of strings, about."""
    return sum(
        sum(map(len, array.flat)) if array.dtype.hasobject and array.size else array.nbytes for array in arrays.values()
    )


def _fail_unanswered(batch: _Batch) -> None:
    for part in batch:
        if not part.item.done.is_set():
            part.item.fail(_stopping())


def _failure(error: Exception) -> HeadraceError:
    if isinstance(error, TimeoutError):
        return _timed_out()
    if isinstance(error, HeadraceError):
        return error
    return AttemptFailed("model_failed", "the model could not process this input")


def _timed_out(*, retryable: bool = False) -> AttemptFailed:
    return AttemptFailed("model_timeout", "the model took too long", retryable=retryable)


def _stopping() -> AttemptFailed:
    return AttemptFailed("worker_stopping", "the model was unloaded before it ran", retryable=True)

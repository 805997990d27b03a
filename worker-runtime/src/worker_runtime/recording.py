"""Sends what is in the outboxes to Redis: one `record` call at a time for all attempts of a queue."""

import math
from collections.abc import Callable

import anyio
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable, CallRefused
from shared_schemas.stream.attempt_writer import AttemptWriter, Batch

from worker_runtime.attempt import RunningAttempt
from worker_runtime.handler import StopReason
from worker_runtime.instrument import QueueObserver
from worker_runtime.outbox import BATCH_EVENTS

# One call holds Redis up for no longer than these take to append, a few milliseconds.
CALL_EVENTS = 2000


class Recorder:
    def __init__(
        self, writer: AttemptWriter, attempts: Callable[[], list[RunningAttempt]], observer: QueueObserver
    ) -> None:
        self._writer, self._attempts, self._observer = writer, attempts, observer
        self._woken = anyio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        backoff = Backoff()
        while True:
            with anyio.move_on_after(self._progress_due_s()):
                await self._woken.wait()
            self._woken = anyio.Event()
            try:
                while await self._record_once():
                    backoff.reset()
            except BackendUnavailable:
                await anyio.sleep(backoff.next_s())
                self.wake()

    async def _record_once(self) -> bool:
        attempts = self._attempts()
        share = max(1, min(BATCH_EVENTS, CALL_EVENTS // max(1, len(attempts))))
        unsent = [(attempt, batch) for attempt in attempts if (batch := attempt.outbox.unsent(limit=share)) is not None]
        if not unsent:
            return False
        kept = await self._record([batch for _, batch in unsent])
        for (attempt, batch), held in zip(unsent, kept, strict=True):
            if held:
                attempt.outbox.confirm(batch)
            else:
                self._observer.record_refused()
                attempt.ask(StopReason.CLAIM_LOST)
        return True

    async def _record(self, batches: list[Batch]) -> list[bool]:
        """As AttemptWriter.record. If Redis refuses a call because of one attempt, only that one is given up."""
        try:
            return await self._writer.record(batches)
        except CallRefused as error:
            self._observer.record_refused_by_redis(len(batches), error)
            if len(batches) == 1:
                return [False]
            return [held for batch in batches for held in await self._record([batch])]

    def _progress_due_s(self) -> float | None:
        """None: no progress is held back, so only `wake` brings something to record."""
        due_s = min((a.outbox.progress_due_s for a in self._attempts() if a.outbox.holds_progress), default=math.inf)
        return None if due_s == math.inf else max(0.0, due_s)

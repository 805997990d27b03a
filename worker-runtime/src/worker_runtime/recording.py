"""Records the events of all attempts of a queue in Redis, with one `record` call at a time.

Knows no handler, and not what is in an event.
"""

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

# The most events of one call. Redis serves nobody else while it appends them, which takes a few
# milliseconds.
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
        answers = await self._record([batch for _, batch in unsent])
        for (attempt, batch), accepted in zip(unsent, answers, strict=True):
            if accepted:
                attempt.outbox.confirm(batch)
            else:
                self._observer.record_refused()
                attempt.ask(StopReason.CLAIM_LOST)
        return True

    async def _record(self, batches: list[Batch]) -> list[bool]:
        """-> for each batch, whether Redis has recorded it. If Redis refuses a call because of one
        attempt, only that attempt loses its claim."""
        try:
            return await self._writer.record(batches)
        except CallRefused as error:
            self._observer.record_refused_by_redis(len(batches), error)
            if len(batches) == 1:
                return [False]
            return [accepted for batch in batches for accepted in await self._record([batch])]

    def _progress_due_s(self) -> float | None:
        """Seconds until progress that waits may be recorded. None if no progress waits."""
        outboxes = [attempt.outbox for attempt in self._attempts()]
        due_s = min((outbox.progress_due_s for outbox in outboxes if outbox.has_waiting_progress), default=math.inf)
        return None if due_s == math.inf else max(0.0, due_s)

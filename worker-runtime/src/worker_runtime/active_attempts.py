"""The attempts that a worker runs now, and its free slots. The heartbeat's thread reads a snapshot of them."""

from collections import deque

import anyio
from shared_schemas.ids import JobId, QueueName

from worker_runtime.attempt import RunningAttempt
from worker_runtime.handler import StopReason

# Requests to cancel jobs of other workers are among them.
MISSED_CANCELS = 256


class ActiveAttempts:
    def __init__(self, slots: int) -> None:
        self.slots = slots
        # A job may be here twice: Redis took its end and handed it out again before this worker read the answer.
        self._attempts: dict[tuple[JobId, str], RunningAttempt] = {}
        # Attempts whose handler has ended, and whose end Redis has not yet taken.
        self._ending: set[tuple[JobId, str]] = set()
        self._n_alone = 0
        self._missed: deque[JobId] = deque(maxlen=MISSED_CANCELS)
        # Made when somebody waits.
        self._changed: anyio.Event | None = None

    @property
    def free(self) -> int:
        """How many more attempts may begin.

        A job that must run alone takes every slot, because a crash must tell about that job only. With one slot, an
        attempt takes it until Redis has taken its end, because a crash counts against that job. With more, an attempt
        that is ending takes no slot, up to as many as there are slots: Redis takes some ends while it hands over the
        next jobs."""
        if self._n_alone:
            return 0
        if self.slots == 1:
            return 1 - len(self._attempts)
        return self.slots - max(len(self._attempts) - len(self._ending), len(self._attempts) - self.slots)

    def add(self, attempt: RunningAttempt) -> None:
        self._attempts[attempt.job_id, attempt.fence] = attempt
        self._n_alone += attempt.claim.must_run_alone
        if attempt.job_id in self._missed:
            attempt.ask(StopReason.CANCELLED)
        self._notify()

    def mark_ending(self, attempt: RunningAttempt) -> None:
        """Its handler has ended. It stays here until `remove`."""
        self._ending.add((attempt.job_id, attempt.fence))
        self._notify()

    def remove(self, attempt: RunningAttempt) -> None:
        del self._attempts[attempt.job_id, attempt.fence]
        self._ending.discard((attempt.job_id, attempt.fence))
        self._n_alone -= attempt.claim.must_run_alone
        self._notify()

    def attempt(self, job_id: JobId, fence: str) -> RunningAttempt | None:
        return self._attempts.get((job_id, fence))

    def ask(self, job_id: JobId, reason: StopReason) -> bool:
        """False if no attempt of the job is here. A cancel may be heard before the answer that begins the attempt, so
        it is kept for a while."""
        attempt = next((a for a in reversed(self.all()) if a.job_id == job_id), None)
        if attempt is not None:
            attempt.ask(reason)
        elif reason is StopReason.CANCELLED:
            self._missed.append(job_id)
        return attempt is not None

    def all(self, queue: QueueName | None = None) -> list[RunningAttempt]:
        return [a for a in list(self._attempts.values()) if queue is None or a.claim.queue == queue]

    def fences(self) -> dict[JobId, str]:
        return {attempt.job_id: attempt.fence for attempt in self.all()}

    def ask_all(self, reason: StopReason, queue: QueueName | None = None) -> None:
        for attempt in self.all(queue):
            attempt.ask(reason)

    async def until_free(self) -> None:
        while self.free <= 0:
            await self._change()

    async def until_empty(self) -> None:
        while self._attempts:
            await self._change()

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

"""The attempts that a worker runs now, and its free slots. Knows no Redis and no handler.

The heartbeat's thread reads a snapshot of the attempts.
"""

from collections import deque

import anyio
from shared_schemas.ids import JobId, QueueName

from worker_runtime.attempt import RunningAttempt
from worker_runtime.handler import StopReason

# How many requests to cancel are kept for attempts that may begin later. Most of them are for jobs
# of other workers.
EARLY_CANCELS = 256


class ActiveAttempts:
    def __init__(self, slots: int) -> None:
        self.slots = slots
        # A job may be here twice: Redis settled an attempt and handed the job out again before this
        # worker has read the answer.
        self._attempts: dict[tuple[JobId, str], RunningAttempt] = {}
        # Attempts whose handler has ended and which Redis has not settled yet.
        self._ending: set[tuple[JobId, str]] = set()
        self._n_alone = 0
        self._early_cancels: deque[JobId] = deque(maxlen=EARLY_CANCELS)
        # Only made when a task waits.
        self._changed: anyio.Event | None = None

    @property
    def free(self) -> int:
        """How many more attempts may begin.

        A job that must run alone takes every slot, so that a crash can only be its fault. With one
        slot, an attempt takes it until it is settled, because a crash counts against that job. With
        more slots, an attempt that is ending takes none, so that Redis can settle some attempts
        while it hands over the next jobs. This applies to at most as many ending attempts as there
        are slots."""
        if self._n_alone:
            return 0
        if self.slots == 1:
            return 1 - len(self._attempts)
        return self.slots - max(len(self._attempts) - len(self._ending), len(self._attempts) - self.slots)

    def add(self, attempt: RunningAttempt) -> None:
        self._attempts[attempt.job_id, attempt.fence] = attempt
        self._n_alone += attempt.claim.must_run_alone
        if attempt.job_id in self._early_cancels:
            attempt.ask(StopReason.CANCELLED)
        self._notify()

    def mark_ending(self, attempt: RunningAttempt) -> None:
        """Call this when the handler has ended. The attempt stays here until `remove`."""
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
        """Ask an attempt of the job to stop. False if there is none. A request to cancel is then
        kept for a while, because it may arrive before the answer that begins the attempt."""
        attempt = next((a for a in reversed(self.all()) if a.job_id == job_id), None)
        if attempt is not None:
            attempt.ask(reason)
        elif reason is StopReason.CANCELLED:
            self._early_cancels.append(job_id)
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

"""The attempts a worker holds now, and its free slots. The heartbeat's thread reads a snapshot of it."""

from collections import deque

import anyio
from shared_schemas.ids import JobId, QueueName

from worker_runtime.attempt import RunningAttempt
from worker_runtime.handler import StopReason

# Cancels of other workers' jobs are among them.
MISSED_CANCELS = 256


class ActiveAttempts:
    def __init__(self, slots: int) -> None:
        self.slots = slots
        # A job may be held twice: it was let go, and is claimed again before the answer to its end is here.
        self._attempts: dict[tuple[JobId, str], RunningAttempt] = {}
        # Their handler has ended, and Redis has not yet taken that.
        self._ending: set[tuple[JobId, str]] = set()
        self._n_alone = 0
        self._missed: deque[JobId] = deque(maxlen=MISSED_CANCELS)
        # Made when somebody waits.
        self._changed: anyio.Event | None = None

    @property
    def free(self) -> int:
        """A suspect takes every slot: its end must tell of nobody but itself. So does the attempt of a worker with one
        slot, whose loss is taken as proof against it. In others an attempt that is ending takes none, up to as many:
        Redis takes the ends of some while it hands over the next."""
        if self._n_alone:
            return 0
        if self.slots == 1:
            return 1 - len(self._attempts)
        return self.slots - max(len(self._attempts) - len(self._ending), len(self._attempts) - self.slots)

    def take(self, attempt: RunningAttempt) -> None:
        self._attempts[attempt.job_id, attempt.fence] = attempt
        self._n_alone += attempt.claim.must_run_alone
        if attempt.job_id in self._missed:
            attempt.ask(StopReason.CANCELLED)
        self._notify()

    def end(self, attempt: RunningAttempt) -> None:
        """Its handler has ended; it is held until it is let go."""
        self._ending.add((attempt.job_id, attempt.fence))
        self._notify()

    def let_go(self, attempt: RunningAttempt) -> None:
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

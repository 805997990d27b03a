"""The attempts a worker holds now, and its free slots. The heartbeat's thread reads a snapshot of it."""

import anyio
from shared_schemas.ids import JobId, QueueName

from worker_runtime.attempt import RunningAttempt
from worker_runtime.handler import StopReason


class Held:
    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._attempts: dict[JobId, RunningAttempt] = {}
        self._changed = anyio.Event()

    @property
    def free(self) -> int:
        return self.slots - len(self._attempts)

    def take(self, attempt: RunningAttempt) -> None:
        self._attempts[attempt.job_id] = attempt
        self._notify()

    def let_go(self, attempt: RunningAttempt) -> None:
        del self._attempts[attempt.job_id]
        self._notify()

    def attempt(self, job_id: JobId) -> RunningAttempt | None:
        return self._attempts.get(job_id)

    def all(self, queue: QueueName | None = None) -> list[RunningAttempt]:
        return [a for a in list(self._attempts.values()) if queue is None or a.claim.queue == queue]

    def ids(self, queue: QueueName) -> list[JobId]:
        return [attempt.job_id for attempt in self.all(queue)]

    def ask_all(self, reason: StopReason) -> None:
        for attempt in self.all():
            attempt.ask(reason)

    async def until_free(self) -> None:
        while self.free <= 0:
            await self._changed.wait()

    async def until_empty(self) -> None:
        while self._attempts:
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

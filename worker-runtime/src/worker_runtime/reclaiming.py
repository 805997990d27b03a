"""Takes jobs back from dead workers, and repairs queues. Any worker may do so for all others.

A worker counts as dead if the beat of its job did not move for half a lease, by the monotonic clock
of this process, and the job had less than half of its lease left before that. So a whole lease has
passed since the last renewal.
"""

import random
import time

import anyio
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.recovery import Recovery, SilentJob

from worker_runtime.instrument import QueueObserver

# How much of a wait is random, so that workers that started together do not all look at the same
# moment.
_SPREAD = 0.3


class Reclaiming:
    def __init__(self, recovery: Recovery, observer: QueueObserver, *, worker: str, lease_s: float) -> None:
        self._recovery, self._observer, self._worker, self._lease_s = recovery, observer, worker, lease_s
        self._shortest_s = min(1.0, lease_s / 6)
        self._first_seen: dict[SilentJob, float] = {}

    async def run(self) -> None:
        backoff = Backoff()
        look_at = repair_at = time.monotonic() + self._earlier(self._shortest_s)
        while True:
            # The sleep may end a moment early by the clock: what it waited for is due all the same.
            due_at = min(look_at, repair_at)
            await anyio.sleep(max(0.0, due_at - time.monotonic()))
            try:
                if look_at <= due_at:
                    await self._reclaim()
                    look_at = time.monotonic() + self._earlier(self._until_next_look_s())
                if repair_at <= due_at:
                    await self._repair()
                    repair_at = time.monotonic() + self._until_next_repair_s()
                backoff.reset()
            except BackendUnavailable as error:
                if backoff.is_fresh:
                    self._observer.reclaiming_interrupted(error)
                self._first_seen.clear()
                look_at = repair_at = time.monotonic() + backoff.next_s() + self._earlier(self._shortest_s)

    def _until_next_look_s(self) -> float:
        return self._shortest_s if self._first_seen else max(self._shortest_s, self._recovery.next_look_s)

    def _until_next_repair_s(self) -> float:
        """Half a lease; or the time until an entry that no worker has begun is due, which would
        otherwise wait for one more round."""
        due_s = self._recovery.next_redelivery_s
        if due_s is None:
            return max(2.0, self._lease_s / 2)
        return max(self._shortest_s * random.uniform(0.1, _SPREAD), due_s)  # noqa: S311

    def _earlier(self, wait_s: float) -> float:
        return wait_s * random.uniform(1.0 - _SPREAD, 1.0)  # noqa: S311

    async def _reclaim(self) -> None:
        silent = await self._recovery.silent_jobs(lease_s=self._lease_s)
        now = time.monotonic()
        self._first_seen = {job: self._first_seen.get(job, now) for job in silent}
        dead = [job for job, first in self._first_seen.items() if now - first >= self._lease_s / 2]
        if not dead:
            return
        answers = await self._recovery.reclaim(dead)
        for job, answer in zip(dead, answers, strict=True):
            if answer != "alive":
                self._observer.job_reclaimed(job.job_id, answer)

    async def _repair(self) -> None:
        await self._recovery.declare()
        redelivered = await self._recovery.redeliver(idle_s=self._lease_s, worker=self._worker)
        repaired = await self._recovery.repair(lease_s=self._lease_s)
        if redelivered or repaired:
            self._observer.queue_repaired(redelivered, repaired)

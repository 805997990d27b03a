"""Takes jobs back from dead workers and mends what nothing else would move. Any worker may do it for all.

Proof of death is a beat that did not move for half a lease on this process' monotonic clock, for a job that had
less than half its lease left to begin with: one lease in all since the last renewal.
"""

import random
import time

import anyio
import structlog
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.housekeeping import Housekeeping, Suspect

from worker_runtime import metrics
from worker_runtime.backoff import Backoff


class Reclaiming:
    def __init__(self, housekeeping: Housekeeping, *, worker: str, lease_s: float) -> None:
        self._housekeeping, self._worker, self._lease_s = housekeeping, worker, lease_s
        self._first_seen: dict[Suspect, float] = {}
        self._repaired_at = 0.0

    async def run(self) -> None:
        backoff = Backoff()
        shortest_s = wait_s = min(1.0, self._lease_s / 6)
        while True:
            # Workers started together should not all look at the same moment.
            await anyio.sleep(wait_s * random.uniform(0.7, 1.0))  # noqa: S311
            try:
                await self._reclaim()
                wait_s = shortest_s if self._first_seen else max(shortest_s, self._housekeeping.next_suspect_s)
                if time.monotonic() - self._repaired_at >= max(2.0, self._lease_s / 2):
                    await self._repair()
                backoff.reset()
            except BackendUnavailable:
                self._first_seen.clear()
                wait_s = shortest_s
                await anyio.sleep(backoff.next_s())

    async def _reclaim(self) -> None:
        suspects = await self._housekeeping.suspects(lease_s=self._lease_s)
        now = time.monotonic()
        self._first_seen = {suspect: self._first_seen.get(suspect, now) for suspect in suspects}
        dead = [s for s, first in self._first_seen.items() if now - first >= self._lease_s / 2]
        if not dead:
            return
        answers = await self._housekeeping.reclaim(dead)
        for suspect, answer in zip(dead, answers, strict=True):
            if answer != "alive":
                metrics.RECLAIMED.labels(self._housekeeping.queue, answer).inc()
                structlog.get_logger().warning("job_reclaimed", job_id=suspect.job_id, outcome=answer)

    async def _repair(self) -> None:
        redelivered = await self._housekeeping.redeliver(idle_s=self._lease_s, worker=self._worker)
        repaired = await self._housekeeping.repair()
        self._repaired_at = time.monotonic()
        if redelivered or repaired:
            metrics.REPAIRED.labels(self._housekeeping.queue).inc(redelivered + repaired)
            structlog.get_logger().warning("queue_repaired", redelivered=redelivered, repaired=repaired)

"""Decides when a worker stops claiming for a while, because it fails one job after another.

Without this, a broken worker would quickly fail all jobs of a queue. Knows no Redis and no clock.
"""

from shared_schemas.backoff import Backoff
from shared_schemas.ids import JobId

FAILED_JOBS = 5


class CircuitBreaker:
    """Counts the distinct jobs that failed because of this machine, since an attempt last ended in
    another way."""

    def __init__(self) -> None:
        self._failed: set[JobId] = set()
        self._pause = Backoff(cap_s=60.0)
        self._is_due = False

    def failed(self, job_id: JobId) -> None:
        self._failed.add(job_id)
        self._is_due = len(self._failed) >= FAILED_JOBS

    def succeeded(self) -> None:
        self._failed.clear()
        self._pause.reset()
        self._is_due = False

    def next_pause_s(self) -> float | None:
        """How many seconds to claim nothing, longer each time; None if there is no reason to pause.
        Each pause is returned once, and the jobs that are claimed after it decide whether another
        follows."""
        if not self._is_due:
            return None
        self._is_due = False
        return self._pause.next_s()

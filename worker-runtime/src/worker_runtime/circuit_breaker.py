"""When a worker claims nothing for a while: one that fails every job, and fast, must not take all the work."""

from shared_schemas.backoff import Backoff
from shared_schemas.ids import JobId

FAILED_JOBS = 5


class CircuitBreaker:
    """Counts distinct jobs that failed through no fault of their own since an attempt last ended otherwise."""

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
        """Seconds to claim nothing, longer each time; None if there is no reason to. Each pause is given once: the jobs
        claimed after it decide whether another follows."""
        if not self._is_due:
            return None
        self._is_due = False
        return self._pause.next_s()

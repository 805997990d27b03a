"""When a worker should claim nothing for a while: one that fails everything, and fast, must not win all the work."""

from shared_schemas.backoff import Backoff
from shared_schemas.ids import JobId

FAILED_JOBS = 5


class Hesitation:
    """Counts distinct jobs that failed through no fault of their own since an attempt last ended otherwise."""

    def __init__(self) -> None:
        self._failed: set[JobId] = set()
        self._pause = Backoff(cap_s=60.0)
        self._is_due = False

    def failed(self, job_id: JobId) -> None:
        self._failed.add(job_id)
        self._is_due = len(self._failed) >= FAILED_JOBS

    def did_well(self) -> None:
        self._failed.clear()
        self._pause.reset()
        self._is_due = False

    def due_s(self) -> float | None:
        """How long to claim nothing, longer each time; None if there is no reason to. Given once: what is claimed
        afterwards decides whether there is another."""
        if not self._is_due:
            return None
        self._is_due = False
        return self._pause.next_s()

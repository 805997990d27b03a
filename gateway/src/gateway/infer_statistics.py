"""Counts the inference requests of this process, for each version of a model. Knows no request."""

from datetime import datetime

import msgspec
from shared_schemas.job import Job
from shared_schemas.models import ModelRef

_MOST_KEPT = 1000
_NS_IN_MS = 1_000_000


class InferCounts(msgspec.Struct):
    """last_ms: when the last job ended, ms since 1970. n_inferences: the rows of successful requests. succeeded_ns,
    failed_ns: from the requests to their answers. queued_ns: until workers began the jobs that succeeded; ran_ns: from
    then to their ends."""

    last_ms: int = 0
    n_inferences: int = 0
    n_succeeded: int = 0
    succeeded_ns: int = 0
    n_failed: int = 0
    failed_ns: int = 0
    queued_ns: int = 0
    ran_ns: int = 0


class InferStatistics:
    def __init__(self) -> None:
        self._counts: dict[ModelRef, InferCounts] = {}

    def succeeded(self, ref: ModelRef, job: Job, *, took_ns: int, n_rows: int) -> None:
        """took_ns: from the request to its answer. n_rows: inferences that it counts as."""
        counts = self._of(ref)
        counts.n_succeeded += 1
        counts.n_inferences += n_rows
        counts.succeeded_ns += took_ns
        counts.queued_ns += _between_ns(job.created_at, job.started_at)
        counts.ran_ns += _between_ns(job.started_at, job.finished_at)
        if job.finished_at is not None:
            counts.last_ms = round(job.finished_at.timestamp() * 1000)

    def failed(self, ref: ModelRef, *, took_ns: int) -> None:
        """A request that was stored as a job, and had no answer with outputs."""
        counts = self._of(ref)
        counts.n_failed += 1
        counts.failed_ns += took_ns

    def of(self, ref: ModelRef) -> InferCounts:
        return self._counts.get(ref) or InferCounts()

    def all(self) -> list[tuple[ModelRef, InferCounts]]:
        """Of the models that were asked, in the order in which they were first asked."""
        return list(self._counts.items())

    def _of(self, ref: ModelRef) -> InferCounts:
        counts = self._counts.get(ref)
        if counts is None:
            counts = self._counts[ref] = InferCounts()
            if len(self._counts) > _MOST_KEPT:
                del self._counts[next(iter(self._counts))]
        return counts


def _between_ns(began: datetime | None, ended: datetime | None) -> int:
    if began is None or ended is None:
        return 0
    return max(0, round((ended - began).total_seconds() * 1000)) * _NS_IN_MS

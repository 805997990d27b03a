"""The metrics of a worker, for Prometheus.

Their names follow https://prometheus.io/docs/practices/naming. They are global, because the library
keeps metrics for each process, and a worker is one process. Knows no log.
"""

from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram
from shared_schemas.ids import JobId, QueueName
from shared_schemas.outcome import Outcome
from shared_schemas.stream.claims import Claim

from worker_runtime.attempt import RunningAttempt
from worker_runtime.instrument import QueueObserver

_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

WAIT = Histogram(
    "headrace_job_wait_seconds",
    "Seconds from when a job was ready until an attempt started",
    ["queue"],
    buckets=_SECONDS,
)
RUN = Histogram("headrace_attempt_run_seconds", "Seconds that an attempt ran", ["queue"], buckets=_SECONDS)
ATTEMPTS = Counter("headrace_attempts", "Attempts that ended on this worker", ["queue", "outcome"])
RUNNING = Gauge("headrace_attempts_running", "Attempts that run now")
SLOTS = Gauge("headrace_slots", "Attempts that may run at once")
REFUSED = Counter(
    "headrace_stale_writes_refused", "Refused writes of attempts that a newer attempt had replaced", ["queue", "write"]
)
RECLAIMED = Counter("headrace_jobs_reclaimed", "Jobs reclaimed from dead workers", ["queue", "outcome"])
REPAIRED = Counter(
    "headrace_jobs_repaired", "Jobs that were in no lane and on no worker, and were made ready again", ["queue"]
)
CLAIM_SIZE = Histogram("headrace_claim_jobs", "Jobs started by one claim call", ["queue"], buckets=_SIZES)
SETTLE_SIZE = Histogram("headrace_settle_jobs", "Jobs ended by one settle call", ["queue"], buckets=_SIZES)
HEARTBEAT_DELAY = Histogram(
    "headrace_heartbeat_delay_seconds",
    "Seconds by which a lease renewal reached Redis later than planned",
    ["queue"],
    buckets=(0.01, 0.05, 0.2, 1.0, 2.0, 5.0, 10.0, 30.0),
)


class QueueMetrics(QueueObserver):
    """The metrics of one queue. The label is bound once, because looking it up takes as long as
    counting."""

    def __init__(self, queue: QueueName) -> None:
        self._queue = queue
        self._wait, self._run = WAIT.labels(queue), RUN.labels(queue)
        self._claim_size, self._settle_size = CLAIM_SIZE.labels(queue), SETTLE_SIZE.labels(queue)

    def jobs_claimed(self, claims: Sequence[Claim]) -> None:
        self._claim_size.observe(len(claims))
        for claim in claims:
            self._wait.observe(claim.waited_s)

    def attempt_settled(self, attempt: RunningAttempt, outcome: Outcome, run_s: float) -> None:
        ATTEMPTS.labels(self._queue, type(outcome).__name__.lower()).inc()
        self._run.observe(run_s)

    def settle_refused(self, attempt: RunningAttempt, outcome: Outcome, run_s: float) -> None:
        REFUSED.labels(self._queue, "settle").inc()

    def jobs_settled(self, count: int) -> None:
        self._settle_size.observe(count)

    def record_refused(self) -> None:
        REFUSED.labels(self._queue, "record").inc()

    def leases_renewed(self, late_s: float) -> None:
        HEARTBEAT_DELAY.labels(self._queue).observe(late_s)

    def job_reclaimed(self, job_id: JobId, outcome: str) -> None:
        RECLAIMED.labels(self._queue, outcome).inc()

    def queue_repaired(self, redelivered: int, repaired: int) -> None:
        REPAIRED.labels(self._queue).inc(redelivered + repaired)

"""Logs the events of a queue. Knows no metric and no duty.

Operators search for the names and fields, so these must not change without need.
"""

import structlog
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId, QueueName
from shared_schemas.outcome import Outcome, Success
from shared_schemas.service.summed_lines import SummedLines
from shared_schemas.stream.claims import Claim

from worker_runtime.attempt import RunningAttempt
from worker_runtime.instrument import QueueObserver


class QueueLog(QueueObserver):
    """lines_per_s: of attempts that succeed; see SummedLines."""

    def __init__(self, queue: QueueName, *, worker: str, lines_per_s: int) -> None:
        self._queue, self._worker = queue, worker
        self._succeeded = SummedLines(lines_per_s, self._attempts_settled)
        # One logger for all lines, because structlog binds a new logger at its first line.
        self._log = structlog.get_logger()

    def worker_ending(self) -> None:
        self._succeeded.sum_up()

    def claiming_interrupted(self, error: Exception) -> None:
        self._log.warning("claiming_interrupted", queue=self._queue, error=str(error))

    def claiming_resumed(self) -> None:
        self._log.info("claiming_resumed", queue=self._queue)

    def claiming_suspended(self, failed_jobs: int, delay_s: float) -> None:
        self._log.error("claiming_suspended", failed_jobs=failed_jobs, s=round(delay_s, 2))

    def entries_left_behind(self, count: int) -> None:
        self._log.warning("entries_left_behind", count=count)

    def spec_unreadable(self, claim: Claim) -> None:
        self._log.warning("spec_unreadable", job_id=claim.job_id, worker=self._worker)

    def handler_failed(self, attempt: RunningAttempt) -> None:
        self._log.exception("handler_failed", job_id=attempt.job_id, attempt=attempt.number, worker=self._worker)

    def claim_lost(self, attempt: RunningAttempt, run_s: float) -> None:
        self._log.warning(
            "claim_lost", job_id=attempt.job_id, attempt=attempt.number, worker=self._worker, run_s=round(run_s, 3)
        )

    def attempt_settled(self, attempt: RunningAttempt, outcome: Outcome, run_s: float) -> None:
        if not isinstance(outcome, Success) or self._succeeded.may_write(run_s):
            self._log_outcome("attempt_settled", attempt, outcome, run_s)

    def _attempts_settled(self, count: int, median_s: float) -> None:
        self._log.info(
            "attempts_settled", count=count, worker=self._worker, outcome="success", median_s=round(median_s, 4)
        )

    def settle_refused(self, attempt: RunningAttempt, outcome: Outcome, run_s: float) -> None:
        self._log_outcome("settle_refused", attempt, outcome, run_s)

    def _log_outcome(self, event: str, attempt: RunningAttempt, outcome: Outcome, run_s: float) -> None:
        self._log.info(
            event,
            job_id=attempt.job_id,
            attempt=attempt.number,
            worker=self._worker,
            outcome=type(outcome).__name__.lower(),
            run_s=round(run_s, 3),
            **_details(outcome),
        )

    def settle_refused_by_redis(self, jobs: int, error: Exception) -> None:
        self._log.error("settle_refused_by_redis", jobs=jobs, error=str(error))

    def settle_postponed(self, jobs: int, error: Exception) -> None:
        self._log.warning("settle_postponed", jobs=jobs, error=str(error))

    def record_refused_by_redis(self, attempts: int, error: Exception) -> None:
        self._log.error("record_refused_by_redis", attempts=attempts, error=str(error))

    def renewal_failed(self, error: Exception) -> None:
        self._log.warning("renewal_failed", queue=self._queue, error=str(error))

    def renewal_crashed(self) -> None:
        self._log.exception("renewal_failed", queue=self._queue)

    def job_reclaimed(self, job_id: JobId, outcome: str) -> None:
        self._log.warning("job_reclaimed", job_id=job_id, outcome=outcome)

    def queue_repaired(self, redelivered: int, repaired: int) -> None:
        self._log.warning("queue_repaired", redelivered=redelivered, repaired=repaired)

    def reclaiming_interrupted(self, error: Exception) -> None:
        self._log.warning("reclaiming_interrupted", error=str(error))

    def jobs_promoted(self, ready: int, expired: int) -> None:
        self._log.info("jobs_promoted", ready=ready, expired=expired)

    def promotion_interrupted(self, error: Exception) -> None:
        self._log.warning("promotion_interrupted", error=str(error))


def _details(outcome: Outcome) -> dict[str, object]:
    error: ErrorInfo | None = getattr(outcome, "error", None)
    return {} if error is None else {"code": error.code, "message": error.message}

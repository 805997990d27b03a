"""The events of a queue in a worker. Duties report them to an observer.

Observers count, log or trace the events. A duty knows no metric and no logger. `metrics` and
`log_lines` have an observer each. Traces would be a third class and one more argument of
`combined` in `worker_runtime.worker`. What happens once in a process, such as its start and its
end, is logged where it happens.

An event is a method instead of a name with fields, because calls are cheap: an attempt has four
events, and each costs one call for each observer.
"""

from collections.abc import Sequence

from shared_schemas.ids import JobId
from shared_schemas.outcome import Outcome
from shared_schemas.stream.claims import Claim

from worker_runtime.attempt import RunningAttempt


class QueueObserver:
    """All events of one queue. Here, each method ignores its event; an observer overrides the
    methods that it wants. A method must not wait or raise. The heartbeat calls its methods from its
    own thread."""

    def worker_ending(self) -> None:
        """Nothing more is reported."""

    def jobs_claimed(self, claims: Sequence[Claim]) -> None:
        """claims: of one call, at least one."""

    def claiming_interrupted(self, error: Exception) -> None:
        """Redis is unavailable. Called once, until `claiming_resumed`."""

    def claiming_resumed(self) -> None: ...

    def claiming_suspended(self, failed_jobs: int, delay_s: float) -> None:
        """Too many jobs have failed here, one after another. delay_s: how long nothing is
        claimed."""

    def entries_left_behind(self, count: int) -> None:
        """The worker ends and could not give back these entries. Another worker gets them after a
        lease."""

    def spec_unreadable(self, claim: Claim) -> None: ...

    def handler_failed(self, attempt: RunningAttempt) -> None:
        """An exception that is not typed was raised. It is the one being handled, so a logger can
        add its traceback."""

    def claim_lost(self, attempt: RunningAttempt, run_s: float) -> None:
        """Another attempt owns the job, and nothing more of this one is written. run_s: how long it
        ran."""

    def attempt_settled(self, attempt: RunningAttempt, outcome: Outcome, run_s: float) -> None: ...

    def settle_refused(self, attempt: RunningAttempt, outcome: Outcome, run_s: float) -> None:
        """Another attempt owns the job, so the outcome was not written."""

    def jobs_settled(self, count: int) -> None:
        """count: how many attempts one call has settled."""

    def settle_refused_by_redis(self, jobs: int, error: Exception) -> None: ...

    def settle_postponed(self, jobs: int, error: Exception) -> None:
        """Redis is unavailable. Called once, until it answers."""

    def record_refused(self) -> None:
        """Another attempt owns the job, so the events of this one were not recorded."""

    def record_refused_by_redis(self, attempts: int, error: Exception) -> None: ...

    def leases_renewed(self, late_s: float) -> None:
        """late_s: how many seconds later than planned the renewal reached Redis."""

    def renewal_failed(self, error: Exception) -> None:
        """Redis is unavailable. Called once, until a renewal succeeds."""

    def renewal_crashed(self) -> None:
        """An unexpected exception was raised. It is the one being handled."""

    def job_reclaimed(self, job_id: JobId, outcome: str) -> None:
        """The job was taken back from a dead worker. outcome: "requeued", "poison" if it has killed
        too many workers, or "corrupt" if the stored job is damaged."""

    def queue_repaired(self, redelivered: int, repaired: int) -> None: ...

    def reclaiming_interrupted(self, error: Exception) -> None:
        """Redis is unavailable. Called once, until it answers."""

    def jobs_promoted(self, ready: int, expired: int) -> None: ...

    def promotion_interrupted(self, error: Exception) -> None:
        """Redis is unavailable. Called once, until it answers."""

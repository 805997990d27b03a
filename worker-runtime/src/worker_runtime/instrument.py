"""What happens to a queue in a worker, as events: duties tell an observer, and observers count, log or trace.

A duty knows no metric and no logger. `metrics` and `log_lines` have an observer each; another one, for traces, would be
a third class and one more argument of `combined`. What happens once in a process (its start, its end, what it finds out
about Redis) is logged where it happens.

An event is a method and not a name with fields: an attempt has four, and each costs one call for each observer.
"""

from collections.abc import Callable, Sequence
from typing import Any

from shared_schemas.ids import JobId
from shared_schemas.outcome import Outcome
from shared_schemas.stream.claims import Claim

from worker_runtime.attempt import RunningAttempt


class QueueObserver:
    """All events of one queue. Each method ignores its event; an observer overrides those that it wants. None of them
    waits or raises. Those of the heartbeat come from its thread."""

    def jobs_claimed(self, claims: Sequence[Claim]) -> None:
        """By one call, at least one."""

    def claiming_interrupted(self, error: Exception) -> None:
        """Redis is away. Told once, until `claiming_resumed`."""

    def claiming_resumed(self) -> None: ...

    def claiming_suspended(self, failed_jobs: int, delay_s: float) -> None:
        """Too many jobs failed here one after another."""

    def entries_left_behind(self, count: int) -> None:
        """They could not be given back at the end; another worker gets them after a lease."""

    def spec_unreadable(self, claim: Claim) -> None: ...

    def handler_failed(self, attempt: RunningAttempt) -> None:
        """With an exception that is not typed, which is being handled."""

    def claim_lost(self, attempt: RunningAttempt, run_s: float) -> None:
        """Another attempt owns the job, and nothing more of this one is written."""

    def attempt_settled(self, attempt: RunningAttempt, outcome: Outcome, run_s: float) -> None: ...

    def settle_refused(self, attempt: RunningAttempt, outcome: Outcome, run_s: float) -> None:
        """Another attempt owns the job, so nothing of this end was written."""

    def jobs_settled(self, count: int) -> None:
        """Redis took so many ends in one call."""

    def settle_refused_by_redis(self, jobs: int, error: Exception) -> None: ...

    def settle_postponed(self, jobs: int, error: Exception) -> None:
        """Redis is away. Told once, until it has answered."""

    def record_refused(self) -> None:
        """Another attempt owns the job."""

    def record_refused_by_redis(self, attempts: int, error: Exception) -> None: ...

    def leases_renewed(self, late_s: float) -> None:
        """late_s: how much later than planned Redis had taken it."""

    def renewal_failed(self, error: Exception) -> None:
        """Redis is away. Told once, until a renewal has worked."""

    def renewal_crashed(self) -> None:
        """With an exception that nobody foresaw, which is being handled."""

    def job_reclaimed(self, job_id: JobId, outcome: str) -> None:
        """From a worker that is dead."""

    def queue_repaired(self, redelivered: int, repaired: int) -> None: ...

    def reclaiming_interrupted(self, error: Exception) -> None:
        """Redis is away. Told once, until it has answered."""

    def jobs_promoted(self, ready: int, expired: int) -> None: ...

    def promotion_interrupted(self, error: Exception) -> None:
        """Redis is away. Told once, until it has answered."""


_EVENTS = [name for name in vars(QueueObserver) if not name.startswith("_")]


def combined(*observers: QueueObserver) -> QueueObserver:
    """One that passes each event to those observers that override it, in their order."""
    made = QueueObserver()
    for event in _EVENTS:
        wanted = [
            getattr(each, event) for each in observers if getattr(type(each), event) is not vars(QueueObserver)[event]
        ]
        if wanted:
            setattr(made, event, wanted[0] if len(wanted) == 1 else _to_each(wanted))
    return made


def _to_each(methods: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def tell(*fields: Any) -> None:
        for method in methods:
            method(*fields)

    return tell

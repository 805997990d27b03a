"""The attempts of a job, computed from its timeline, so that nothing about them is stored twice.

Only changes of state count. The other events of a timeline may be left out.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import reduce

import msgspec

from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Done, Reason, StateChanged, StreamEvent
from shared_schemas.lifecycle import from_ms


class AttemptEnd(StrEnum):
    """retried: it failed, and another attempt was allowed. failed: it failed, and so did the job.
    worker_lost: its lease ran out. released: a drain or a pause gave the job back, which does not
    count as a failure."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    WORKER_LOST = "worker_lost"
    RELEASED = "released"
    CANCELLED = "cancelled"


class AttemptSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """number: from 1. ended, finished_at, duration_s: None while it runs. error: why it failed."""

    number: int
    worker: str | None
    started_at: datetime
    finished_at: datetime | None = None
    duration_s: float | None = None
    ended: AttemptEnd | None = None
    error: ErrorInfo | None = None


_ENDS = {
    Reason.SUCCEEDED: AttemptEnd.SUCCEEDED,
    Reason.FAILED: AttemptEnd.FAILED,
    Reason.RETRY: AttemptEnd.RETRIED,
    Reason.WORKER_LOST: AttemptEnd.WORKER_LOST,
    Reason.RELEASED: AttemptEnd.RELEASED,
    Reason.PAUSED: AttemptEnd.RELEASED,
    Reason.CANCELLED: AttemptEnd.CANCELLED,
}


def attempts_of(events: Iterable[StreamEvent]) -> tuple[AttemptSummary, ...]:
    """events: a timeline, or at least its changes of state around each attempt, in order."""
    return reduce(_advance, events, ())


def _advance(attempts: tuple[AttemptSummary, ...], event: StreamEvent) -> tuple[AttemptSummary, ...]:
    match event:
        case StateChanged(reason=Reason.CLAIMED):
            begun = AttemptSummary(number=event.attempt, worker=event.worker, started_at=from_ms(event.at))
            return (*attempts, begun)
        case StateChanged() | Done() if event.reason in _ENDS and attempts and attempts[-1].ended is None:
            return (*attempts[:-1], _end(attempts[-1], event))
        case _:
            return attempts


def _end(attempt: AttemptSummary, event: StateChanged | Done) -> AttemptSummary:
    at = from_ms(event.at)
    return msgspec.structs.replace(
        attempt,
        finished_at=at,
        # Redis' clock may have been set back meanwhile.
        duration_s=max(0.0, round((at - attempt.started_at).total_seconds(), 3)),
        ended=_ENDS[event.reason],
        error=event.error,
    )

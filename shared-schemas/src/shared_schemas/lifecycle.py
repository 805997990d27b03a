"""The state machine: the one table of which state may follow which, and the fold that applies it.

Scripts in `stream/lua` receive the allowed source states as an argument, and only compare.
`advance` is pure: a job is `fold(submitted(...), timeline)`. Tests compare that with the stored
job.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import reduce

import msgspec

from shared_schemas.errors import StateConflict
from shared_schemas.events import (
    Checkpointed,
    Done,
    JobEvent,
    Measured,
    Progressed,
    Reason,
    StateChanged,
)
from shared_schemas.ids import JobId, kind_of, queue_of
from shared_schemas.job import Checkpoint, Job, JobState, Progress
from shared_schemas.specs import JobSpec

S = JobState


class Transition(msgspec.Struct, frozen=True):
    sources: frozenset[JobState]
    target: JobState


def _from(*sources: JobState, to: JobState) -> Transition:
    return Transition(frozenset(sources), to)


TRANSITIONS: dict[Reason, Transition] = {
    Reason.SUBMITTED: _from(to=S.QUEUED),
    Reason.SCHEDULED: _from(S.PAUSED, to=S.SCHEDULED),
    Reason.DUE: _from(S.SCHEDULED, to=S.QUEUED),
    Reason.CLAIMED: _from(S.QUEUED, to=S.RUNNING),
    Reason.RETRY: _from(S.RUNNING, to=S.SCHEDULED),
    Reason.RELEASED: _from(S.RUNNING, to=S.QUEUED),
    Reason.WORKER_LOST: _from(S.RUNNING, to=S.QUEUED),
    Reason.PAUSE_REQUESTED: _from(S.RUNNING, to=S.RUNNING),
    Reason.PAUSE_WITHDRAWN: _from(S.RUNNING, to=S.RUNNING),
    Reason.PAUSED: _from(S.SCHEDULED, S.QUEUED, S.RUNNING, to=S.PAUSED),
    Reason.RESUMED: _from(S.PAUSED, to=S.QUEUED),
    Reason.CANCEL_REQUESTED: _from(S.RUNNING, to=S.RUNNING),
    Reason.SUCCEEDED: _from(S.RUNNING, to=S.SUCCEEDED),
    Reason.FAILED: _from(S.SCHEDULED, S.QUEUED, S.RUNNING, to=S.FAILED),
    Reason.CANCELLED: _from(S.SCHEDULED, S.QUEUED, S.PAUSED, S.RUNNING, to=S.CANCELLED),
}


def submitted(job_id: JobId, spec: JobSpec, *, replay_of: JobId | None = None, retry_of: JobId | None = None) -> Job:
    """The job before its first event."""
    return Job(
        id=job_id,
        kind=kind_of(job_id),
        queue=queue_of(job_id),
        priority=spec.priority,
        spec=spec,
        state=S.SCHEDULED,
        created_at=datetime.fromtimestamp(0, UTC),
        replay_of=replay_of,
        retry_of=retry_of,
    )


def fold(job: Job, events: Iterable[JobEvent]) -> Job:
    return reduce(advance, events, job)


def advance(job: Job, event: JobEvent) -> Job:
    """The job after `event`. StateConflict if the table does not allow it or a number is missing."""
    if event.n != job.last_event + 1:
        raise StateConflict(f"event {event.n} cannot follow event {job.last_event}")
    job = msgspec.structs.replace(job, last_event=event.n, attempt=event.attempt)
    match event:
        case StateChanged():
            return _change_state(job, event)
        case Done():
            return _end(job, event)
        case Progressed():
            progress = Progress(
                fraction=event.fraction,
                step=event.step,
                total=event.total,
                epoch=event.epoch,
                message=event.message,
            )
            return msgspec.structs.replace(job, progress=progress, progress_at=from_ms(event.at))
        case Measured():
            return msgspec.structs.replace(job, metrics={**job.metrics, event.split: event.values})
        case Checkpointed():
            return msgspec.structs.replace(job, checkpoint=Checkpoint(step=event.step, artifact=event.artifact))
        case _:
            return job


def _change_state(job: Job, event: StateChanged) -> Job:
    at = from_ms(event.at)
    if event.n == 1:
        job = msgspec.structs.replace(job, created_at=at)
    else:
        _check(job, event.reason)
    job = msgspec.structs.replace(job, state=event.state, due_at=None)
    if event.delay_ms is not None:
        job = msgspec.structs.replace(job, due_at=at + timedelta(milliseconds=event.delay_ms))
    match event.reason:
        case Reason.CLAIMED:
            return msgspec.structs.replace(job, started_at=at, worker=event.worker)
        case Reason.RETRY:
            return msgspec.structs.replace(_let_go(job), failures=job.failures + 1, error=event.error)
        case Reason.WORKER_LOST:
            return msgspec.structs.replace(_let_go(job), crashes=job.crashes + 1)
        case Reason.RELEASED | Reason.PAUSED:
            return _let_go(job)
        case Reason.PAUSE_REQUESTED:
            return msgspec.structs.replace(job, pause_requested=True)
        case Reason.PAUSE_WITHDRAWN:
            return msgspec.structs.replace(job, pause_requested=False)
        case Reason.CANCEL_REQUESTED:
            return msgspec.structs.replace(job, cancel_requested=True)
        case _:
            return job


def _end(job: Job, event: Done) -> Job:
    _check(job, event.reason)
    return msgspec.structs.replace(
        _let_go(job),
        state=event.state,
        due_at=None,
        finished_at=from_ms(event.at),
        result=event.result,
        error=event.error,
        digest=event.digest,
        facts=event.facts,
    )


def _let_go(job: Job) -> Job:
    return msgspec.structs.replace(job, worker=None, pause_requested=False)


def _check(job: Job, reason: Reason) -> None:
    if job.state not in TRANSITIONS[reason].sources:
        raise StateConflict(f"a job that is {job.state} cannot be {reason}")


def from_ms(ms: int) -> datetime:
    """ms: since the epoch. -> the time, in UTC"""
    return datetime.fromtimestamp(ms / 1000, UTC)

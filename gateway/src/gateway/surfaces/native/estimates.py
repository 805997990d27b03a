"""When a job will begin, or end, as far as that can be known. Knows no request.

The begin of a queued job follows from its position and how fast its queue has drained. The end of a
running job follows from its progress since this attempt began.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import DecodeError
from shared_schemas.codec import decode_event
from shared_schemas.events import Progressed, Reason, StateChanged, StreamEvent
from shared_schemas.job import Job, JobState
from shared_schemas.lifecycle import from_ms

from gateway.services import Services

# The first progress of an attempt is searched among so many events.
_LOOKED_AT = 64


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """As in replies.JobStatus."""

    queue_position: int | None = None
    workers: int | None = None
    eta_s: float | None = None
    estimated_start_at: datetime | None = None
    estimated_end_at: datetime | None = None


_UNKNOWN = Estimate()


async def estimate(services: Services, job: Job) -> Estimate:
    """What is known of the time to come. BackendUnavailable."""
    if job.state is JobState.QUEUED:
        return await _of_queued(services, job)
    if job.state is JobState.RUNNING and job.progress is not None and job.started_at is not None:
        return await _of_running(services, job)
    return _UNKNOWN


async def _of_queued(services: Services, job: Job) -> Estimate:
    waiting = await services.jobs.waiting(job.id)
    if waiting is None:
        return _UNKNOWN
    eta_s = None if waiting.starts_in_s is None else round(waiting.starts_in_s, 1)
    return Estimate(
        queue_position=waiting.position,
        workers=waiting.workers,
        eta_s=eta_s,
        estimated_start_at=None if eta_s is None else _in(datetime.now(UTC), eta_s),
    )


async def _of_running(services: Services, job: Job) -> Estimate:
    """Goes on as it went since the first progress of this attempt: what came before that was the
    start of the process, or belonged to an earlier attempt."""
    first = await _first_progress(services, job)
    if first is None or job.progress is None or job.progress_at is None:
        return _UNKNOWN
    since, fraction = first
    took_s, gained = (job.progress_at - since).total_seconds(), job.progress.fraction - fraction
    if took_s <= 0 or gained <= 0:
        return _UNKNOWN
    ends_at = _in(job.progress_at, took_s / gained * (1 - job.progress.fraction))
    eta_s = None if ends_at is None else round(max(0.0, (ends_at - datetime.now(UTC)).total_seconds()), 1)
    return Estimate(eta_s=eta_s, estimated_end_at=ends_at)


async def _first_progress(services: Services, job: Job) -> tuple[datetime, float] | None:
    """-> the time and the fraction of the first progress of the newest attempt, or of the begin of
    the first attempt, if there has been only one progress. None if neither is known."""
    changes = _readable(await services.timeline.read_attempts(job.id))
    begin = max((event.n for event in changes if _begins(event)), default=0)
    entries = await services.timeline.read(job.id, after=begin, limit=_LOOKED_AT) if begin else []
    for event in _readable([entry.data for entry in entries]):
        if not isinstance(event, Progressed) or event.attempt != job.attempt:
            continue
        if from_ms(event.at) != job.progress_at:
            return from_ms(event.at), event.fraction
        return (job.started_at, 0.0) if job.attempt == 1 and job.started_at is not None else None
    return None


def _begins(event: StreamEvent) -> bool:
    return isinstance(event, StateChanged) and event.reason is Reason.CLAIMED


def _readable(events: Sequence[bytes]) -> Iterator[StreamEvent]:
    for data in events:
        with suppress(DecodeError):
            yield decode_event(data)


def _in(start: datetime, seconds: float) -> datetime | None:
    """None for a time too far away for a date."""
    try:
        return start + timedelta(seconds=seconds)
    except OverflowError:
        return None

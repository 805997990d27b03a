"""Jobs as the API shows them: with links, and, for a replay, whether its result is identical to the
original's. Knows no request."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

import msgspec
from fastapi import Response
from msgspec import DecodeError
from shared_schemas.attempts import AttemptSummary, attempts_of
from shared_schemas.codec import decode_event, encode_json
from shared_schemas.errors import JobExpired, JobNotFound, JobUnreadable
from shared_schemas.events import StreamEvent
from shared_schemas.ids import JobId
from shared_schemas.job import CACHED_FROM, Job, JobState
from shared_schemas.replies import JobDetails, JobResult, JobStatus, ReplayOf, Submitted

from gateway.services import Services
from gateway.surfaces.native.estimates import estimate

_VERBS = ("status", "events", "result", "cancel")


def urls_of(job_id: JobId) -> dict[str, str]:
    return {"self": f"/jobs/{job_id}"} | {verb: f"/jobs/{job_id}/{verb}" for verb in _VERBS}


class _Json(Response):
    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set the same headers as the base class, which would take as long as the rest of a
        response to find out what is known here."""
        self.raw_headers = [
            *((name.lower().encode(), value.encode()) for name, value in (headers or {}).items()),
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
        ]


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return _Json(encode_json(value), status, headers=headers)


def submitted(job_id: JobId, state: JobState) -> Submitted:
    return Submitted(job_id=job_id, status=state, urls=urls_of(job_id))


async def details(services: Services, job: Job) -> JobDetails:
    fields = {field: getattr(job, field) for field in job.__struct_fields__}
    about = await estimate(services, job)
    return JobDetails(
        **fields,
        job_id=job.id,
        status=job.state,
        queue_position=about.queue_position,
        eta_s=about.eta_s,
        estimated_start_at=about.estimated_start_at,
        estimated_end_at=about.estimated_end_at,
        cached_from=_cached_from(job),
        urls=urls_of(job.id),
        replay=await _replay(services, job),
    )


async def status(services: Services, job: Job) -> JobStatus:
    about = await estimate(services, job)
    return JobStatus(
        job_id=job.id,
        kind=job.kind,
        status=job.state,
        attempt=job.attempt,
        queue_position=about.queue_position,
        workers=about.workers,
        eta_s=about.eta_s,
        estimated_start_at=about.estimated_start_at,
        estimated_end_at=about.estimated_end_at,
        waits_for=await _waits_for(services, job),
        progress=job.progress,
        progress_at=job.progress_at,
        metrics=job.metrics,
        error=job.error,
        result=job.result,
        cached_from=_cached_from(job),
        cancel_requested=job.cancel_requested,
        pause_requested=job.pause_requested,
        worker=job.worker,
        last_event=job.last_event,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        due_at=job.due_at,
        replay=await _replay(services, job),
        urls=urls_of(job.id),
    )


async def attempts(services: Services, job_id: JobId) -> tuple[AttemptSummary, ...]:
    return attempts_of(_readable(await services.timeline.read_attempts(job_id)))


def _readable(events: list[bytes]) -> Iterator[StreamEvent]:
    for data in events:
        with suppress(DecodeError):
            yield decode_event(data)


def result(job: Job) -> JobResult:
    return JobResult(job_id=job.id, status=job.state, result=job.result, cached_from=_cached_from(job), error=job.error)


def _cached_from(job: Job) -> JobId | None:
    made_by = job.facts.get(CACHED_FROM)
    return None if made_by is None else JobId(made_by)


async def _waits_for(services: Services, job: Job) -> tuple[JobId, ...]:
    if job.state is not JobState.SCHEDULED or not job.spec.depends_on:
        return ()
    states = await services.jobs.states([JobId(parent) for parent in job.spec.depends_on])
    return tuple(parent for parent, state in states.items() if state is not JobState.SUCCEEDED)


async def _replay(services: Services, job: Job) -> ReplayOf | None:
    if job.replay_of is None:
        return None
    identical, differs = None, tuple[str, ...]()
    if job.state.is_terminal:
        try:
            original = await services.jobs.find(job.replay_of)
        except (JobNotFound, JobExpired, JobUnreadable):
            original = None
        if original is not None and original.state is JobState.SUCCEEDED:
            identical = _outcome(job) == _outcome(original)
            differs = () if identical else _differences(job, original)
    return ReplayOf(of=job.replay_of, identical=identical, differs=differs)


def _differences(job: Job, original: Job) -> tuple[str, ...]:
    if job.state is not original.state:
        return ("state",)
    if not (job.facts and original.facts):
        return ()
    names = sorted((job.facts.keys() | original.facts.keys()) - {CACHED_FROM})
    return tuple(name for name in names if job.facts.get(name) != original.facts.get(name)) or ("unknown",)


def _outcome(job: Job) -> tuple[object, ...]:
    """What must be equal in two runs of the same spec: the digest, or the result if there is
    none."""
    return (job.state, job.digest or bytes(msgspec.Raw(job.result)))

"""Reading jobs, and acting on jobs that exist. Knows no frame and no Redis command."""

from typing import Annotated

import msgspec
from fastapi import Response
from msgspec import Meta
from shared_schemas.errors import StateConflict
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.kinds import JobKind
from shared_schemas.replies import JobAttempts, JobPage
from shared_schemas.specs import Tag
from shared_schemas.stream.listing import sets_of_jobs

from gateway.edge.problems import ProblemError
from gateway.intake.submission import again
from gateway.routes import paging
from gateway.routes.lookup import find_job, job_id_of, queues_of
from gateway.routes.paging import Cursor, Limit
from gateway.routes.route import Call, PlainCall
from gateway.services import Services
from gateway.surfaces.native import responses


class JobsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """status may be given more than once."""

    kind: JobKind | None = None
    status: tuple[JobState, ...] = ()
    queue: Annotated[str, Meta(max_length=64)] | None = None
    tag: Tag | None = None
    limit: Limit = 20
    cursor: Cursor | None = None


async def list_jobs(call: Call[JobsQuery, None]) -> Response:
    """Jobs, newest first. New and finished jobs do not move the pages."""
    query, services = call.query, call.services
    moment = paging.moment_of(query.cursor)
    pages = await services.queue_queries.pages(
        sets_of_jobs(query.status, query.tag),
        states=query.status or tuple(JobState),
        limit=query.limit,
        before=lambda queue: paging.id_at(queue, moment),
        queues=queues_of(query.kind, query.queue),
        kind=query.kind,
    )
    jobs, next_cursor = paging.merged(pages, query.limit)
    return responses.json_response(JobPage(jobs=jobs, next_cursor=next_cursor))


async def get_job(call: PlainCall) -> Response:
    """Everything about a job. For a replay: whether its result is identical to the original's."""
    services = call.services
    return responses.json_response(await responses.details(services, await find_job(call)))


async def get_status(call: PlainCall) -> Response:
    """The state of a job, with its progress, place in the queue, metrics, error and result."""
    services = call.services
    return responses.json_response(await responses.status(services, await find_job(call)))


async def get_attempts(call: PlainCall) -> Response:
    """The newest 100 attempts, oldest first: the worker, the time, how long it took, how it ended
    and why."""
    services = call.services
    job = await find_job(call)
    return responses.json_response(JobAttempts(job_id=job.id, attempts=await responses.attempts(services, job.id)))


async def get_result(call: PlainCall) -> Response:
    """The result or the error of a finished job. 409 while it has not ended."""
    job = await find_job(call)
    if not job.state.is_terminal:
        raise ProblemError(409, "not_finished", f"the job is {job.state}")
    return responses.json_response(responses.result(job))


async def cancel_job(call: PlainCall) -> Response:
    """200: cancelled. 202: its attempt was asked to end. Cancelling twice is fine."""
    services = call.services
    job = await find_job(call)
    state = await services.control.cancel(job.id)
    return await _status(services, job.id, 200 if state is JobState.CANCELLED else 202)


async def delete_job(call: PlainCall) -> Response:
    """Delete a finished job with its timeline and result. 409 while it has not ended, or while
    another job that has not ended needs it. A model that it published stays."""
    services = call.services
    await services.removal.delete_job(job_id_of(call.path["job_id"]), queues=await services.catalog.names())
    return Response(status_code=204)


async def pause_job(call: PlainCall) -> Response:
    """200: paused. 202: its attempt was asked to save a checkpoint and stop."""
    services = call.services
    job = await find_job(call)
    state = await services.control.pause(job.id)
    return await _status(services, job.id, 200 if state is JobState.PAUSED else 202)


async def resume_job(call: PlainCall) -> Response:
    """Resume a paused job, from its last checkpoint if it has one."""
    services = call.services
    job = await find_job(call)
    await services.control.resume(job.id)
    return await _status(services, job.id, 200)


async def retry_job(call: PlainCall) -> Response:
    """Run a failed or cancelled job again now, as a new job that names it in retry_of. The spec is
    the same without run_at, depends_on and start_deadline_s, which belonged to the time of the
    first run. A retry of a replay is a replay of the same job."""
    services = call.services
    job = await find_job(call)
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise StateConflict(f"the job is {job.state}; only a failed or cancelled one can be retried")
    # The retry of a replay stays a replay: its result is compared, and it publishes nothing.
    answer = await services.submissions.submit(again(job.spec), retry_of=job.id, replay_of=job.replay_of)
    return _accepted(answer.job_id)


async def replay_job(call: PlainCall) -> Response:
    """Run a finished job's spec again now, with the same seed and model version, as a new job that
    names it in replay_of. The new job says whether the result is identical, or null if the first
    had no result. Without run_at, depends_on and start_deadline_s. A replay of a training job
    publishes no model, however the first one ended: to get the model, retry the job.
    """
    services = call.services
    job = await find_job(call)
    if not job.state.is_terminal:
        raise StateConflict(f"the job is {job.state}; only a finished one can be replayed")
    answer = await services.submissions.submit(again(job.spec), replay_of=job.id)
    return _accepted(answer.job_id)


async def _status(services: Services, job_id: JobId, code: int) -> Response:
    return responses.json_response(await responses.status(services, await services.jobs.find(job_id)), code)


def _accepted(job_id: JobId) -> Response:
    return responses.json_response(responses.submitted(job_id, JobState.QUEUED), 202, {"Location": f"/jobs/{job_id}"})

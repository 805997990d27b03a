"""What can be asked of jobs and done with them."""

import base64
from collections.abc import Iterable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta
from shared_schemas.errors import JobNotFound, MalformedId, StateConflict
from shared_schemas.ids import JobId, JobKind, QueueName, kind_of_queue, parse_job_id, parse_queue, ulid_of
from shared_schemas.job import Job, JobState, JobSummary
from shared_schemas.replies import JobDetails, JobPage, JobResult, JobStatus, ProblemItem, Submitted
from shared_schemas.specs import Tag

from gateway import openapi, replies
from gateway.body import read_query
from gateway.problems import ProblemError
from gateway.services import Services, services_of
from gateway.submitting import again, submit

router = APIRouter(tags=["jobs"])

Limit = Annotated[int, Meta(ge=1, le=100)]
Cursor = Annotated[str, Meta(max_length=128)]


class JobsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """status may be given more than once."""

    kind: JobKind | None = None
    status: tuple[JobState, ...] = ()
    queue: Annotated[str, Meta(max_length=64)] | None = None
    tag: Tag | None = None
    limit: Limit = 20
    cursor: Cursor | None = None


class DeadLettersQuery(msgspec.Struct, frozen=True, kw_only=True):
    """code: only failures with this error code."""

    kind: JobKind | None = None
    queue: Annotated[str, Meta(max_length=64)] | None = None
    code: Annotated[str, Meta(max_length=64)] | None = None
    limit: Limit = 20
    cursor: Cursor | None = None


@router.get("/jobs", **openapi.listing(JobsQuery, JobPage))
async def list_jobs(request: Request) -> Response:
    """Jobs, newest first. Inserting and finishing jobs moves no page."""
    query, services = read_query(request, JobsQuery, repeated=frozenset({"status"})), services_of(request)
    moment = _moment(query.cursor)
    queues = await queues_of(services, query.kind, query.queue)
    pages = [
        await services.ledger.list_jobs(
            queue, states=query.status, tag=query.tag, limit=query.limit, before=_before(queue, moment)
        )
        for queue in queues
    ]
    return replies.json_response(_page((page.jobs for page in pages), (page.before for page in pages), query.limit))


@router.get("/dead-letters", **openapi.listing(DeadLettersQuery, JobPage))
async def list_dead_letters(request: Request) -> Response:
    """Failed jobs that were not retried, newest first."""
    query, services = read_query(request, DeadLettersQuery), services_of(request)
    moment = _moment(query.cursor)
    pages = [
        await services.ledger.list_jobs(queue, dead=True, limit=query.limit, before=_before(queue, moment))
        for queue in await queues_of(services, query.kind, query.queue)
    ]
    page = _page((page.jobs for page in pages), (page.before for page in pages), query.limit)
    if query.code is not None:
        wanted = tuple(job for job in page.jobs if job.error is not None and job.error.code == query.code)
        page = msgspec.structs.replace(page, jobs=wanted)
    return replies.json_response(page)


@router.get("/jobs/{job_id}", **openapi.reply(JobDetails, 404, 410))
async def get_job(request: Request, job_id: str) -> Response:
    """All about a job. For a replay: whether its result is identical to the original's."""
    services = services_of(request)
    return replies.json_response(await replies.details(services, await find(services, job_id)))


@router.get("/jobs/{job_id}/status", **openapi.reply(JobStatus, 404, 410))
async def get_status(request: Request, job_id: str) -> Response:
    """Where a job stands: state, progress, place in the queue, metrics, error, result."""
    services = services_of(request)
    return replies.json_response(await replies.status(services, await find(services, job_id)))


@router.get("/jobs/{job_id}/result", **openapi.reply(JobResult, 404, 409, 410))
async def get_result(request: Request, job_id: str) -> Response:
    """How a finished job ended; 409 while it is open."""
    job = await find(services_of(request), job_id)
    if not job.state.is_terminal:
        raise ProblemError(409, "not_finished", f"the job is {job.state}")
    return replies.json_response(replies.result(job))


@router.post("/jobs/{job_id}/cancel", **openapi.reply(JobStatus, 404, 409, 410, also=202))
async def cancel_job(request: Request, job_id: str) -> Response:
    """200: cancelled. 202: its attempt was asked to end. Cancelling twice is fine."""
    services = services_of(request)
    job = await find(services, job_id)
    state = await services.ledger.cancel(job.id)
    return await _status(services, job.id, 200 if state is JobState.CANCELLED else 202)


@router.post("/jobs/{job_id}/pause", **openapi.reply(JobStatus, 404, 409, 410, also=202))
async def pause_job(request: Request, job_id: str) -> Response:
    """200: set aside. 202: its attempt was asked to save a checkpoint and let go."""
    services = services_of(request)
    job = await find(services, job_id)
    state = await services.ledger.pause(job.id)
    return await _status(services, job.id, 200 if state is JobState.PAUSED else 202)


@router.post("/jobs/{job_id}/resume", **openapi.reply(JobStatus, 404, 409, 410))
async def resume_job(request: Request, job_id: str) -> Response:
    """Let a paused job go on, from its last checkpoint if it has one."""
    services = services_of(request)
    job = await find(services, job_id)
    await services.ledger.resume(job.id)
    return await _status(services, job.id, 200)


@router.post("/jobs/{job_id}/retry", **openapi.reply(Submitted, 404, 409, 410, status=202))
async def retry_job(request: Request, job_id: str) -> Response:
    """Run a failed or cancelled job again, as a new job that names it in retry_of."""
    services = services_of(request)
    job = await find(services, job_id)
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise StateConflict(f"the job is {job.state}; only a failed or cancelled one can be retried")
    answer = await submit(services, again(job.spec), retry_of=job.id)
    return _accepted(answer.job_id)


@router.post("/jobs/{job_id}/replay", **openapi.reply(Submitted, 404, 409, 410, status=202))
async def replay_job(request: Request, job_id: str) -> Response:
    """Run a finished job's spec again, same seed and model version, as a new job that names it in replay_of and says
    whether the result is identical."""
    services = services_of(request)
    job = await find(services, job_id)
    if not job.state.is_terminal:
        raise StateConflict(f"the job is {job.state}; only a finished one can be replayed")
    answer = await submit(services, again(job.spec), replay_of=job.id)
    return _accepted(answer.job_id)


async def find(services: Services, text: str) -> Job:
    try:
        job_id = parse_job_id(text)
    except MalformedId:
        raise JobNotFound("no such job") from None
    return await services.ledger.find(job_id)


async def queues_of(services: Services, kind: JobKind | None, name: str | None) -> list[QueueName]:
    if name is not None:
        try:
            queues = [parse_queue(name)]
        except MalformedId as error:
            item = ProblemItem(pointer="queue", code="malformed_id", detail=str(error))
            raise ProblemError(422, "invalid_parameter", "not a queue's name", errors=[item]) from None
    else:
        queues = await services.queues()
    return [queue for queue in queues if kind is None or kind_of_queue(queue) is kind]


def _page(pages: Iterable[list[JobSummary]], befores: Iterable[str | None], limit: int) -> JobPage:
    """Merge the queues' pages by the time of submission. Of a queue that has more to come nothing is known past where
    its page ends, so nothing older than that is handed on."""
    befores = list(befores)
    more = [ulid_of(JobId(before)) for before in befores if before is not None]
    horizon = max(more, default="")
    jobs = sorted((job for page in pages for job in page), key=lambda job: ulid_of(job.id), reverse=True)
    kept = [job for job in jobs if ulid_of(job.id) >= horizon][:limit]
    has_more = len(kept) < len(jobs) or bool(more)
    if not has_more:
        return JobPage(jobs=tuple(kept))
    last = ulid_of(kept[-1].id) if len(kept) == limit or not more else horizon
    return JobPage(jobs=tuple(kept), next_cursor=base64.urlsafe_b64encode(last.encode()).decode().rstrip("="))


def _moment(cursor: str | None) -> str | None:
    """A cursor is a point in time, written as a ULID."""
    if cursor is None:
        return None
    try:
        ulid = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        return ulid_of(parse_job_id(f"{JobKind.TRAINING}-{ulid}"))
    except (ValueError, MalformedId):
        item = ProblemItem(pointer="cursor", code="invalid_value", detail="not a cursor of this API")
        raise ProblemError(422, "invalid_parameter", "the cursor is not valid", errors=[item]) from None


def _before(queue: QueueName, moment: str | None) -> JobId | None:
    """The id that a job of that time would have in this queue."""
    return None if moment is None else JobId(f"{queue}-{moment}")


async def _status(services: Services, job_id: JobId, code: int) -> Response:
    return replies.json_response(await replies.status(services, await services.ledger.find(job_id)), code)


def _accepted(job_id: JobId) -> Response:
    return replies.json_response(replies.submitted(job_id, JobState.QUEUED), 202, {"Location": f"/jobs/{job_id}"})

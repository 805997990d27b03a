"""Dead letters: failed jobs, to be read, retried or purged. Knows no frame and no Redis command."""

from typing import Annotated

import msgspec
from fastapi import Response
from msgspec import Meta
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId
from shared_schemas.job import Job, JobState, JobSummary
from shared_schemas.kinds import JobKind
from shared_schemas.replies import (
    DeadLetter,
    DeadLetterDetails,
    DeadLetterPage,
    DeadLetterSelection,
    DeadLettersPurged,
    DeadLettersRetried,
    ProblemItem,
    RetriedJob,
)
from shared_schemas.stream.dead_letters import DeadLetterStatus
from shared_schemas.stream.listing import sets_of_dead_letters

from gateway.edge.problems import ProblemError
from gateway.routes import paging
from gateway.routes.lookup import find_job, queues_of
from gateway.routes.paging import Cursor, Limit
from gateway.routes.route import Call, PlainCall
from gateway.services import Services
from gateway.surfaces.native import responses

EXAMPLE = {"queue": "training", "code": "internal"}


class DeadLettersQuery(msgspec.Struct, frozen=True, kw_only=True):
    """code: only failures with this error code."""

    kind: JobKind | None = None
    queue: Annotated[str, Meta(max_length=64)] | None = None
    code: Annotated[str, Meta(max_length=64)] | None = None
    limit: Limit = 20
    cursor: Cursor | None = None


async def list_dead_letters(call: Call[DeadLettersQuery, None]) -> Response:
    """Failed jobs that were neither retried nor purged, newest first, each with all its
    attempts."""
    services = call.services
    jobs, next_cursor = await _select(services, call.query)
    rows = [await _dead_letter(services, job) for job in jobs]
    return responses.json_response(DeadLetterPage(jobs=tuple(rows), next_cursor=next_cursor))


async def get_dead_letter(call: PlainCall) -> Response:
    """Everything about a dead letter, with its attempts. 404 says why the job is not a dead
    letter."""
    services = call.services
    job = await find_job(call)
    status = await services.dead_letters.status(job.id)
    if not status.listed:
        raise ProblemError(404, "not_a_dead_letter", _why_not(job, status))
    details = await responses.details(services, job)
    fields = {field: getattr(details, field) for field in details.__struct_fields__}
    attempts = await responses.attempts(services, job.id)
    return responses.json_response(DeadLetterDetails(**fields, attempts=attempts))


async def retry_dead_letters(call: Call[None, DeadLetterSelection]) -> Response:
    """Run dead letters again, each once, as a new job. If the answer is lost, repeat the request:
    it retries those that are left."""
    services, selection = call.services, call.body
    _check_selection(selection)
    jobs, next_cursor = await _select(services, selection, pointer="/")
    # In the order in which they were submitted.
    answers = await services.submissions.retry_all([job.id for job in reversed(jobs)])
    retried = tuple(_retried(job.id, answers[job.id]) for job in jobs)
    return responses.json_response(DeadLettersRetried(jobs=retried, next_cursor=next_cursor))


async def purge_dead_letters(call: Call[None, DeadLetterSelection]) -> Response:
    """Take dead letters off the list. The failed jobs stay until their result_ttl has passed."""
    services, selection = call.services, call.body
    _check_selection(selection)
    jobs, next_cursor = await _select(services, selection, pointer="/")
    purged: set[JobId] = set()
    for queue in {job.queue for job in jobs}:
        purged.update(await services.dead_letters.purge(queue, [job.id for job in jobs if job.queue == queue]))
    job_ids = tuple(job.id for job in jobs if job.id in purged)
    return responses.json_response(DeadLettersPurged(job_ids=job_ids, next_cursor=next_cursor))


def _check_selection(selection: DeadLetterSelection) -> None:
    is_filtered = not (selection.queue is selection.kind is selection.code is None)
    if is_filtered == selection.all:
        detail = "either a filter (queue, kind, code) or all: true" + (", not both" if selection.all else "")
        item = ProblemItem(pointer="", code="filter_required", detail=detail)
        raise ProblemError(422, "invalid_body", "the body does not say which dead letters", errors=[item])


async def _select(
    services: Services, wanted: DeadLettersQuery | DeadLetterSelection, *, pointer: str = ""
) -> tuple[tuple[JobSummary, ...], str | None]:
    """pointer: the prefix of a field's name in a problem."""
    moment = paging.moment_of(wanted.cursor, pointer=f"{pointer}cursor")
    pages = await services.queue_queries.pages(
        sets_of_dead_letters(wanted.code),
        states=(JobState.FAILED,),
        limit=wanted.limit,
        before=lambda queue: paging.id_at(queue, moment),
        queues=queues_of(wanted.kind, wanted.queue, pointer=f"{pointer}queue"),
        kind=wanted.kind,
    )
    return paging.merged(pages, wanted.limit)


async def _dead_letter(services: Services, job: JobSummary) -> DeadLetter:
    fields = {field: getattr(job, field) for field in job.__struct_fields__}
    return DeadLetter(**fields, attempts=await responses.attempts(services, job.id) if job.attempt else ())


def _why_not(job: Job, status: DeadLetterStatus) -> str:
    if job.state is not JobState.FAILED:
        return f"the job is {job.state}: only a failed one is a dead letter"
    if status.retried_as is not None:
        return f"the job was retried as {status.retried_as}"
    return "the job failed and was purged from the dead letters"


def _retried(job_id: JobId, answer: JobId | ErrorInfo) -> RetriedJob:
    if isinstance(answer, ErrorInfo):
        return RetriedJob(job_id=job_id, error=answer)
    return RetriedJob(job_id=job_id, retried_as=answer)

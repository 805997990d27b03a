"""Batches: many inference jobs from one file of JSON lines. Knows no Redis command."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import anyio
import msgspec
from fastapi import Response
from msgspec import Meta
from shared_schemas.batches import (
    BATCH_KIND,
    CANCELLED,
    Batch,
    BatchError,
    BatchList,
    BatchResponse,
    BatchResult,
    BatchSpec,
    BatchState,
)
from shared_schemas.codec import encode_json
from shared_schemas.errors import BatchNotFound, ErrorInfo, MalformedId, StateConflict
from shared_schemas.ids import JobId, base_of_batch, default_queue, job_of_line, line_of_job
from shared_schemas.job import JobState
from shared_schemas.stream.batches import EndedJob
from starlette.responses import StreamingResponse

from gateway.edge.problems import ProblemError
from gateway.intake.batch_upload import CUSTOM_ID
from gateway.routes.lookup import queues_of
from gateway.routes.route import Call, PlainCall
from gateway.routes.submit import idempotency_key
from gateway.services import Services
from gateway.surfaces.native.responses import json_response

JSON_LINES = "application/jsonl"
_MEDIA = (b"application/jsonl", b"application/x-ndjson", b"application/octet-stream")
_PAGE = 100
# Nothing announces the ends of the jobs of one batch alone. A look counts jobs and reads none.
_LOOK_EVERY_S = 0.25
_States = tuple[JobState, ...]
_decode_spec = msgspec.json.Decoder(BatchSpec).decode
_decode_error = msgspec.json.Decoder(ErrorInfo).decode
_decode_kept = msgspec.json.Decoder(tuple[str | None, BatchError]).decode


class BatchQuery(msgspec.Struct, frozen=True, kw_only=True):
    queue: Annotated[str, Meta(max_length=64)] | None = None


class OutputQuery(msgspec.Struct, frozen=True, kw_only=True):
    """follow: go on with each line as its job ends, until the batch has ended."""

    follow: bool = False


async def submit_batch(call: Call[BatchQuery, None]) -> Response:
    """Store each line of the body as an inference job. The body is JSON lines, each
    `{"custom_id": …, "body": …}`, with a body as for `POST /jobs/inference`. A line that is no job is
    an error of the batch, and stops no other. If the connection breaks, send the file again with the
    same Idempotency-Key: what is stored is not stored again."""
    services, headers = call.services, call.headers
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ProblemError(415, "encoding_unsupported", "send the body without Content-Encoding")
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() not in _MEDIA:
        raise ProblemError(415, "media_type_unsupported", f"send the body as {JSON_LINES}")
    queues = queues_of(BATCH_KIND, call.query.queue)
    queue = default_queue(BATCH_KIND) if queues is None else next(iter(queues), None)
    if queue is None or not await services.catalog.takes_jobs(queue):
        detail = "no worker serves a queue of this name and kind, and no setting declares it"
        raise ProblemError(422, "queue_unknown", detail)
    key = idempotency_key(call.request) if b"idempotency-key" in headers else None
    base, is_new = await services.batch_uploads.receive(call.request, queue, key)
    answer = {"Location": f"/batches/{(batch := await _batch(services, base)).batch_id}"}
    if not is_new:
        answer["Idempotency-Replayed"] = "true"
    return json_response(batch, 202, answer)


async def list_batches(call: Call[BatchQuery, None]) -> Response:
    """The newest batches."""
    services = call.services
    queues = queues_of(BATCH_KIND, call.query.queue)
    if queues is None:
        names = await services.catalog.names()
        queues = [name for name in names if name.startswith(BATCH_KIND)]
    bases = [base for queue in queues for base in await services.batches.newest(queue)]
    newest = sorted(bases, key=lambda base: base[-26:], reverse=True)[:_PAGE]
    return json_response(BatchList(batches=tuple([await _batch(services, base) for base in newest])))


async def get_batch(call: PlainCall) -> Response:
    """How many lines have arrived, and how many of their jobs are in each state."""
    return json_response(await _batch(call.services, _base(call)))


async def cancel_batch(call: PlainCall) -> Response:
    """Cancel every job of the batch that has not ended. The answer comes once all of them are
    cancelled or asked to end. If it is lost, repeat the request."""
    base = _base(call)
    if (await call.services.batches.status(base)).status is BatchState.COMPLETED:
        raise StateConflict("all jobs of the batch have ended")
    await call.services.batch_uploads.cancel(base)
    return json_response(await _batch(call.services, base), 202)


async def get_output(call: Call[OutputQuery, None]) -> Response:
    """A line for each job that has succeeded, in the order of the lines. It can be read while the
    batch runs, and then has what there is. With follow=true it goes on until the batch has ended,
    with each line as its job ends."""
    base = _base(call)
    await call.services.batches.status(base)
    read = _followed if call.query.follow else _ended
    return _lines(read(call.services, base, (JobState.SUCCEEDED,)))


async def get_errors(call: Call[OutputQuery, None]) -> Response:
    """A line for each line that is no job, then for each job that failed or was cancelled. It can be
    read while the batch runs, and then has what there is. With follow=true it goes on until the
    batch has ended."""
    base = _base(call)
    await call.services.batches.status(base)
    return _lines(_failed(call.services, base, is_followed=call.query.follow))


def _base(call: Call[Any, None]) -> JobId:
    try:
        return base_of_batch(call.path["batch_id"])
    except MalformedId:
        raise BatchNotFound("no such batch") from None


async def _batch(services: Services, base: JobId) -> Batch:
    batch = await services.batches.status(base)
    path = f"/batches/{batch.batch_id}"
    urls = {"self": path} | {name: f"{path}/{name}" for name in ("output", "errors", "cancel")}
    return msgspec.structs.replace(batch, urls=urls)


def _lines(lines: AsyncIterator[bytes]) -> Response:
    # A proxy must not hold lines back until the last one.
    return StreamingResponse(lines, media_type=JSON_LINES, headers={"X-Accel-Buffering": "no"})


async def _ended(services: Services, base: JobId, states: _States) -> AsyncIterator[bytes]:
    """Reads some jobs at a time, and only once the reader has taken those before."""
    after = job_of_line(base, 0)
    while job_ids := await services.batches.job_ids(base, states, after=after, limit=_PAGE):
        yield await _shown(services, base, job_ids)
        after = job_ids[-1]


async def _followed(services: Services, base: JobId, states: _States) -> AsyncIterator[bytes]:
    """As _ended, until the batch has ended, with each line as its job ends."""
    # A bit for each line that was given out. Those before `first` all were.
    given, first, counts = bytearray(), 1, None
    while True:
        # Asked for first: a job that ends after this is found the next time.
        batch = await services.batches.status(base)
        given.extend(bytes(batch.n_lines + 1 - len(given)))
        if (found := [batch.jobs[state] for state in states]) != counts:
            counts, after = found, job_of_line(base, first - 1)
            while job_ids := await services.batches.job_ids(base, states, after=after, limit=_PAGE):
                after = job_ids[-1]
                numbers = [line_of_job(base, job_id) for job_id in job_ids]
                given.extend(bytes(max(0, numbers[-1] + 1 - len(given))))
                if new := [job_id for job_id, n in zip(job_ids, numbers, strict=True) if not given[n]]:
                    yield await _shown(services, base, new)
                for number in numbers:
                    given[number] = 1
            while first < len(given) and given[first]:
                first += 1
        if batch.status in (BatchState.COMPLETED, BatchState.CANCELLED):
            return
        await anyio.sleep(_LOOK_EVERY_S)


async def _shown(services: Services, base: JobId, job_ids: Sequence[JobId]) -> bytes:
    jobs = await services.batches.read(job_ids)
    return b"".join(encode_json(_result(base, job)) + b"\n" for job in jobs)


async def _failed(services: Services, base: JobId, *, is_followed: bool) -> AsyncIterator[bytes]:
    if is_followed:
        # The lines of a batch that still arrives may be no jobs either. Nothing announces the last one.
        while (await services.batches.status(base)).status is BatchState.RECEIVING:  # noqa: ASYNC110
            await anyio.sleep(_LOOK_EVERY_S)
    async for _, kept in services.batches.errors(base):
        custom_id, error = _decode_kept(kept)
        yield encode_json(BatchResult(id=None, custom_id=custom_id, error=error)) + b"\n"
    read = _followed if is_followed else _ended
    async for lines in read(services, base, (JobState.FAILED, JobState.CANCELLED)):
        yield lines


def _result(base: JobId, job: EndedJob) -> BatchResult:
    custom_id = _custom_id(job)
    if job.state is JobState.SUCCEEDED:
        body = msgspec.Raw(job.result or b"null")
        response = BatchResponse(status_code=200, request_id=job.job_id, body=body)
        return BatchResult(id=job.job_id, custom_id=custom_id, response=response)
    line = line_of_job(base, job.job_id)
    if job.error is None:
        shown = BatchError(code=CANCELLED, message="the job was cancelled", line=line)
    else:
        error = _decode_error(job.error)
        shown = BatchError(code=error.code, message=error.message, line=line)
    return BatchResult(id=job.job_id, custom_id=custom_id, error=shown)


def _custom_id(job: EndedJob) -> str | None:
    """None if the stored job is damaged."""
    try:
        return None if job.spec is None else _decode_spec(job.spec).metadata.get(CUSTOM_ID)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None

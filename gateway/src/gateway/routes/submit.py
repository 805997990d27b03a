"""POST /jobs/<kind> for each kind of job: one job, or a list of them."""

import re
from collections.abc import Sequence
from contextlib import closing, nullcontext
from datetime import UTC, datetime

import anyio
from fastapi import Request, Response
from shared_schemas.failpoints import failpoint
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.replies import SubmittedJobs
from shared_schemas.specs import JobOptions, JobSpec
from shared_schemas.stream import keys

from gateway.edge.problems import ProblemError
from gateway.feed.streaming import SSE, refuse_more_than
from gateway.feed.subscription import EndOnly, Following
from gateway.feed.timeline_source import Timelines
from gateway.intake import preferences
from gateway.intake.admission import new_id_for
from gateway.intake.body import headers_of
from gateway.intake.submission import states_of, submit, submit_list
from gateway.routes.events import MOST_JOBS, stream_of_job, stream_of_jobs
from gateway.routes.route import Call
from gateway.services import Services
from gateway.surfaces.native import responses

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


async def submit_jobs(call: Call[None, JobSpec | Sequence[JobSpec]]) -> Response:
    if isinstance(call.body, JobOptions):
        return await _submit(call.request, call.services, call.body)
    return await _submit_list(call.request, call.services, call.body)


async def _submit(request: Request, services: Services, spec: JobSpec) -> Response:
    given = headers_of(request)
    key, is_stream, wait_s = _idempotency_key(request, given), _is_stream(given), _wait_s(request, given)
    if is_stream:  # rather than after the job is stored
        refuse_more_than(services.settings.max_streams)
    new_id = new_id_for(spec)
    # Its bell is subscribed while the job is stored; who only submits needs none.
    with services.hub.expecting(keys.job_channel(new_id)) if is_stream or wait_s else nullcontext():
        answer = await submit(services, spec, job_id=new_id, idempotency_key=key)
    failpoint("job_accepted")
    job_id = answer.job_id
    headers = {"Location": f"/jobs/{job_id}"}
    if not answer.created:
        headers["Idempotency-Replayed"] = "true"
    if is_stream:
        return stream_of_job(services, job_id, after=0, media_type=SSE, headers=headers)
    if wait_s:
        headers["Preference-Applied"] = f"wait={wait_s}"
        if await _has_ended_within(services, job_id, wait_s):
            job = await services.jobs.find(job_id)
            return responses.json_response(await responses.details(services, job), 200, headers)
    state = _first_state(spec) if answer.created else (await services.jobs.find(job_id)).state
    return responses.json_response(responses.submitted(job_id, state), 202, headers)


async def _submit_list(request: Request, services: Services, specs: Sequence[JobSpec]) -> Response:
    given = headers_of(request)
    key, is_stream = _idempotency_key(request, given), _is_stream(given)
    if is_stream and len(specs) > MOST_JOBS:
        raise ProblemError(406, "not_acceptable", f"one event stream follows at most {MOST_JOBS} jobs")
    if is_stream:
        refuse_more_than(services.settings.max_streams)
    answers = await submit_list(services, specs, idempotency_key=key)
    failpoint("job_accepted")
    job_ids = [answer.job_id for answer in answers]
    headers = {} if answers[0].created else {"Idempotency-Replayed": "true"}
    if is_stream:
        return stream_of_jobs(services, dict.fromkeys(job_ids, 0), media_type=SSE, headers=headers)
    states = map(_first_state, specs) if answers[0].created else await states_of(services, job_ids)
    jobs = tuple(responses.submitted(job_id, state) for job_id, state in zip(job_ids, states, strict=True))
    return responses.json_response(SubmittedJobs(jobs=jobs), 202, headers)


def _first_state(spec: JobSpec) -> JobState:
    """Where a job stands that was stored just now, without asking."""
    is_early = spec.run_at is not None and spec.run_at > datetime.now(UTC)
    return JobState.SCHEDULED if spec.depends_on or is_early else JobState.QUEUED


async def _has_ended_within(services: Services, job_id: JobId, wait_s: float) -> bool:
    """Whatever happens to the waiting, the job is stored, and the answer is that it was accepted."""
    source, wait = Timelines(services.hub, services.timeline, {job_id: 0}), EndOnly()
    with (
        closing(Following(services.hub, source, wait, idle_s=services.settings.keep_alive_s).begin()),
        anyio.move_on_after(wait_s),
    ):
        await wait.ended.wait()
    return source.is_over


def _idempotency_key(request: Request, given: dict[bytes, bytes]) -> str | None:
    if b"idempotency-key" not in given:
        return None
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1 or _KEY.fullmatch(keys[0]) is None:
        raise ProblemError(
            400, "idempotency_key_invalid", "Idempotency-Key must be given once, as 1 to 255 visible ASCII characters"
        )
    return keys[0]


def _is_stream(given: dict[bytes, bytes]) -> bool:
    return SSE.encode() in given.get(b"accept", b"").lower()


def _wait_s(request: Request, given: dict[bytes, bytes]) -> int:
    return preferences.wait_s(request.headers.getlist("prefer")) if b"prefer" in given else 0

"""POST /jobs/training and POST /jobs/inference."""

import re

import anyio
import msgspec
from fastapi import APIRouter, Request, Response
from shared_schemas.errors import BackendUnavailable
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.specs import InferenceSpec, JobSpec, TrainingSpec

from gateway import openapi, replies
from gateway.body import read_json
from gateway.following import Batch, Follower
from gateway.problems import ProblemError
from gateway.routes.events import stream_of_job
from gateway.services import Services, services_of
from gateway.streaming import SSE
from gateway.submitting import submit

router = APIRouter(tags=["jobs"])

_training = msgspec.json.Decoder(TrainingSpec)
_inference = msgspec.json.Decoder(InferenceSpec)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r"(?:^|,)\s*wait(?:=(?P<seconds>\d{1,3}))?\s*(?:,|$)")
_LONGEST_WAIT_S = 60


@router.post("/jobs/training", **openapi.submission(TrainingSpec, openapi.TRAINING_EXAMPLE))
async def submit_training(request: Request) -> Response:
    """Train a model on a CSV and publish it."""
    services = services_of(request)
    spec = await read_json(request, _training, max_bytes=services.settings.max_body_bytes)
    return await _submit(request, services, spec)


@router.post("/jobs/inference", **openapi.submission(InferenceSpec, openapi.INFERENCE_EXAMPLE))
async def submit_inference(request: Request) -> Response:
    """Run a published model on one input or a list of inputs."""
    services = services_of(request)
    spec = await read_json(request, _inference, max_bytes=services.settings.max_body_bytes)
    return await _submit(request, services, spec)


async def _submit(request: Request, services: Services, spec: JobSpec) -> Response:
    key, wait_s = _idempotency_key(request), _wait_s(request)
    answer = await submit(services, spec, idempotency_key=key)
    job_id = answer.job_id
    headers = {"Location": f"/jobs/{job_id}"}
    if not answer.created:
        headers["Idempotency-Replayed"] = "true"
    if SSE in request.headers.get("accept", ""):
        return stream_of_job(services, job_id, after=0, media_type=SSE)
    if wait_s and await ended_within(services, job_id, wait_s):
        job = await services.ledger.find(job_id)
        headers["Preference-Applied"] = f"wait={wait_s}"
        return replies.json_response(await replies.details(services, job), 200, headers)
    return replies.json_response(
        replies.submitted(job_id, await state_of(services, job_id, answer.created)), 202, headers
    )


async def state_of(services: Services, job_id: JobId, is_new: bool) -> JobState:
    """Where a job that was just submitted stands. A second look is not worth a failed request."""
    try:
        return (await services.ledger.find(job_id)).state
    except BackendUnavailable:
        return JobState.QUEUED if is_new else JobState.SCHEDULED


async def ended_within(services: Services, job_id: JobId, wait_s: float) -> bool:
    follower = Follower(services.hub, services.timeline, {job_id: 0}, idle_s=services.settings.keep_alive_s)
    with anyio.move_on_after(wait_s):
        async for item in follower.follow():
            if isinstance(item, Batch) and item.entries[-1].event == "done":
                return True
    return False


def _idempotency_key(request: Request) -> str | None:
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or _KEY.fullmatch(keys[0]) is None:
        raise ProblemError(
            400, "idempotency_key_invalid", "Idempotency-Key must be given once, as 1 to 255 visible ASCII characters"
        )
    return keys[0]


def _wait_s(request: Request) -> int:
    match = _WAIT.search(request.headers.get("prefer", ""))
    if match is None:
        return 0
    return min(_LONGEST_WAIT_S, int(match["seconds"] or _LONGEST_WAIT_S))

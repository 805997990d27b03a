"""POST /jobs/training and POST /jobs/inference."""

import re
from contextlib import aclosing, suppress
from datetime import UTC, datetime

import anyio
import msgspec
from fastapi import APIRouter, Request, Response
from shared_schemas.errors import BackendUnavailable
from shared_schemas.failpoints import reach
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
    spec = await read_json(request, _training, services.settings)
    return await _submit(request, services, spec)


@router.post("/jobs/inference", **openapi.submission(InferenceSpec, openapi.INFERENCE_EXAMPLE))
async def submit_inference(request: Request) -> Response:
    """Run a published model on one input or a list of inputs."""
    services = services_of(request)
    spec = await read_json(request, _inference, services.settings)
    return await _submit(request, services, spec)


async def _submit(request: Request, services: Services, spec: JobSpec) -> Response:
    key, wait_s = _idempotency_key(request), _wait_s(request)
    answer = await submit(services, spec, idempotency_key=key)
    reach("job_accepted")
    job_id = answer.job_id
    headers = {"Location": f"/jobs/{job_id}"}
    if not answer.created:
        headers["Idempotency-Replayed"] = "true"
    if SSE in request.headers.get("accept", ""):
        return stream_of_job(services, job_id, after=0, media_type=SSE, headers=headers)
    if wait_s and await _has_ended_within(services, job_id, wait_s):
        job = await services.ledger.find(job_id)
        headers["Preference-Applied"] = f"wait={wait_s}"
        return replies.json_response(await replies.details(services, job), 200, headers)
    state = _first_state(spec) if answer.created else (await services.ledger.find(job_id)).state
    return replies.json_response(replies.submitted(job_id, state), 202, headers)


def _first_state(spec: JobSpec) -> JobState:
    """Where a job stands that was stored just now, without asking."""
    is_early = spec.run_at is not None and spec.run_at > datetime.now(UTC)
    return JobState.SCHEDULED if spec.depends_on or is_early else JobState.QUEUED


async def _has_ended_within(services: Services, job_id: JobId, wait_s: float) -> bool:
    follower = Follower(services.hub, services.timeline, {job_id: 0}, idle_s=services.settings.keep_alive_s)
    # The job is stored: whatever happens to the waiting, the answer is that it was accepted.
    with suppress(BackendUnavailable), anyio.move_on_after(wait_s):
        async with aclosing(follower.follow()) as items:
            async for item in items:
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

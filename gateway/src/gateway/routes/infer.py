"""POST /v2/models/{name}/infer: an inference request of the Open Inference Protocol as a job.

It submits one job, waits for its end, and answers with its tensors. The job's id is in the header Headrace-Job-Id of
every answer that has a job, so that it is found after a lost answer, too.
"""

import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Request, Response
from shared_schemas.errors import AttemptFailed, ErrorInfo, HeadraceError, InvalidInput
from shared_schemas.job import Job, JobState
from shared_schemas.models import Model
from shared_schemas.specs import InferenceParameters, InferenceSpec, Priority

from gateway.edge.problems import ProblemError
from gateway.intake import content_coding
from gateway.intake.body import read_bytes
from gateway.intake.submit_and_follow import Accepted, Ended, Followed
from gateway.routes.route import PlainCall
from gateway.routes.submit import idempotency_key
from gateway.services import Services
from gateway.surfaces.v2.description import reference_of
from gateway.surfaces.v2.forms import Form, form_of
from gateway.surfaces.v2.request import BINARY_HEADER, Asked, read_request, refused
from gateway.surfaces.v2.response import Plan, planned, written

JOB_HEADER = "Headrace-Job-Id"

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_US_IN_S = 1_000_000
_LONGEST_TIMEOUT_S = 30 * 86_400.0
# A page of another origin can send a body without asking first, unless it is of one of these types.
_ASKED_FIRST = re.compile(rb"application/(json|octet-stream)\s*(;.*)?", re.IGNORECASE | re.DOTALL)


class _Prepared(msgspec.Struct, frozen=True):
    """model: the one that the request was prepared for. form: of its task."""

    model: Model
    form: Form
    plan: Plan
    spec: InferenceSpec


async def infer(call: PlainCall) -> Response:
    """Run a model on tensors, as the Open Inference Protocol has it, in JSON or with its binary tensor extension. The
    request is a job: the header Headrace-Job-Id has its id."""
    began_ns = time.monotonic_ns()
    services, given = call.services, call.headers
    asked = await _asked(call.request, given, services)
    reference = reference_of(call.path["name"], call.path.get("version"))
    key = idempotency_key(call.request) if b"idempotency-key" in given else None
    wait_s = services.settings.infer_wait_s
    if asked.timeout_us:
        wait_s = min(wait_s, asked.timeout_us / _US_IN_S)

    model = services.known_models.guess(reference)
    is_guess = model is not None
    while True:
        try:
            prepared = _prepare(asked, reference, model or await services.known_models.read(reference))
            outcome = await services.submit_and_follow(prepared.spec, idempotency_key=key, wait_s=wait_s)
            break
        except (InvalidInput, ProblemError):
            # The name may lead to another model by now.
            if not is_guess:
                raise
            model, is_guess = None, False

    response = await _answer(services, asked, reference, prepared, outcome, began_ns, wait_s)
    body, coding = await content_coding.encoded(bytes(response.body), _text(given, b"accept-encoding"))
    if coding is not None:
        response.body = body
        response.headers["content-length"] = str(len(body))
        response.headers["content-encoding"] = coding
        response.headers["vary"] = "Accept-Encoding"
    return response


async def _asked(request: Request, given: Mapping[bytes, bytes], services: Services) -> Asked:
    if b"origin" in given and _ASKED_FIRST.fullmatch(given.get(b"content-type", b"")) is None:
        raise ProblemError(
            415, "media_type_unsupported", "a page sends the body as application/json or application/octet-stream"
        )
    body = await read_bytes(request, given, services.settings)
    encoding = _text(given, b"content-encoding")
    body = await content_coding.decoded(body, encoding, max_bytes=services.settings.max_body_bytes)
    length = given.get(BINARY_HEADER.lower().encode())
    return read_request(body, None if length is None else length.decode("latin-1"))


def _prepare(asked: Asked, reference: str, model: Model) -> _Prepared:
    form = form_of(model.manifest)
    if form is None:
        task = model.manifest.task
        raise ProblemError(
            422,
            "invalid_input",
            f"models of the task {task} have no tensors in this protocol: use POST /jobs/inference",
        )
    plan = planned(asked, form)
    given = {name: value for name, value in asked.others.items() if name in form.parameters}
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    given |= form.job_parameters(any_binary=plan.any_binary)
    timeout_s = min(asked.timeout_us / _US_IN_S, _LONGEST_TIMEOUT_S) or None
    is_tag = _TAG.fullmatch(asked.id) is not None
    spec = InferenceSpec(
        model_id=reference,
        input_data=form.input_data(asked.inputs),
        parameters=_parameters(given),
        priority=_priority(asked.priority),
        cache=asked.cache,
        timeout_s=timeout_s,
        start_deadline_s=timeout_s,
        tags=(asked.id,) if is_tag else (),
        metadata={"request_id": asked.id} if asked.id and not is_tag else {},
    )
    return _Prepared(model, form, plan, spec)


def _parameters(given: dict[str, Any]) -> InferenceParameters:
    try:
        return msgspec.convert(given, InferenceParameters)
    except msgspec.ValidationError:
        names = ", ".join(sorted(given))
        raise refused(f"one of the parameters {names} is not valid", "/parameters") from None


def _priority(given: int) -> Priority:
    """1 is the highest, and 0 the model's default."""
    return {0: Priority.NORMAL, 1: Priority.HIGH, 2: Priority.NORMAL}.get(given, Priority.LOW)


async def _answer(
    services: Services,
    asked: Asked,
    reference: str,
    prepared: _Prepared,
    outcome: Accepted | Ended | Followed,
    began_ns: int,
    wait_s: float,
) -> Response:
    """ProblemError if there are no outputs to answer with. It names the job."""
    statistics = services.infer_statistics
    if not isinstance(outcome, Ended):
        [job_id] = outcome.job_ids
        statistics.failed(prepared.model.ref, took_ns=time.monotonic_ns() - began_ns)
        raise ProblemError(
            504,
            "infer_timeout",
            f"job {job_id} has not ended within {wait_s:g} s; GET /jobs/{job_id} has its state and its result",
            headers={JOB_HEADER: job_id},
        )
    job = outcome.job
    model, form = prepared.model, prepared.form
    if job.spec.model != str(model.ref) and job.spec.model is not None:
        model = await _exactly(services, reference, job.spec.model, model)
        form = form_of(model.manifest) or form
    if job.state is not JobState.SUCCEEDED:
        statistics.failed(model.ref, took_ns=time.monotonic_ns() - began_ns)
        raise _failed(job)
    try:
        outputs = form.outputs_of(job.result)
        made = written(
            prepared.plan,
            outputs,
            model_name=model.name,
            model_version=str(model.version),
            request_id=asked.id,
        )
    except AttemptFailed as error:
        statistics.failed(model.ref, took_ns=time.monotonic_ns() - began_ns)
        raise _problem(job, error.info()) from None
    except (KeyError, msgspec.DecodeError) as error:
        # The job ran another model than the plan was made for, or a worker of another version.
        statistics.failed(model.ref, took_ns=time.monotonic_ns() - began_ns)
        message = f"the result of job {job.id} has not the outputs that were asked for"
        raise ProblemError(500, "infer_outputs_missing", message, headers={JOB_HEADER: job.id}) from error
    took_ns = time.monotonic_ns() - began_ns
    statistics.succeeded(model.ref, job, took_ns=took_ns, n_rows=form.n_rows(asked.inputs))
    return Response(made.body, headers={**made.headers, JOB_HEADER: job.id})


async def _exactly(services: Services, reference: str, pinned: str, guessed: Model) -> Model:
    """The model that the job was pinned to: a newer one has been published, or an alias moved."""
    try:
        await services.known_models.read(reference)
        return await services.known_models.read(pinned)
    except HeadraceError:
        # The job has ended, and its result is what counts.
        return guessed


def _failed(job: Job) -> ProblemError:
    if job.error is None:
        detail = f"job {job.id} was cancelled"
        return ProblemError(HTTPStatus.CONFLICT, "infer_cancelled", detail, headers={JOB_HEADER: job.id})
    return _problem(job, job.error)


def _problem(job: Job, error: ErrorInfo) -> ProblemError:
    if error.code in ("timeout", "start_deadline_exceeded"):
        status = 504
    elif error.code == "invalid_input":
        status = 400
    elif error.code == "model_gone":
        status = 404
    else:
        status = 503 if error.retryable else 500
    return ProblemError(status, error.code, f"job {job.id} failed: {error.message}", headers={JOB_HEADER: job.id})


def _text(given: Mapping[bytes, bytes], name: bytes) -> str:
    return given.get(name, b"").decode("latin-1")

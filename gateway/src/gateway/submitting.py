"""From a decoded body to a stored job: defaults, pins and the checks that need Redis. Knows no transport."""

import hashlib
import re
import secrets
import time
from collections.abc import Sequence

import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.errors import (
    BackendUnavailable,
    ErrorInfo,
    HeadraceError,
    JobExpired,
    JobNotFound,
    MalformedId,
    ModelNotFound,
    SpecRejected,
)
from shared_schemas.ids import (
    JobId,
    JobKind,
    QueueName,
    default_queue,
    is_job_id,
    kind_of,
    kind_of_queue,
    new_job_id,
    parse_job_id,
    parse_queue,
    queue_of,
)
from shared_schemas.specs import InferenceSpec, JobSpec, TrainingSpec
from shared_schemas.stream.ledger import Submission, Submitted

from gateway.services import Services

_SEED_BITS = 31
# A spec may have a megabyte: one step must hold up neither Redis nor this process's memory.
_RETRIES_AT_ONCE = 50
# Control characters, backslashes, a step upwards, a home folder, a URL, a folder.
_FORBIDDEN_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|(^|/)\.\.(/|$)|^~|^[A-Za-z][A-Za-z0-9+.-]*:/|(^|/)\.?$")


class PathNotAllowed(SpecRejected):
    code = "path_not_allowed"


async def submit(
    services: Services,
    spec: JobSpec,
    *,
    idempotency_key: str | None = None,
    replay_of: JobId | None = None,
    retry_of: JobId | None = None,
) -> Submitted:
    """SpecRejected, ModelNotFound, IdempotencyConflict, StateConflict, BackendUnavailable."""
    submission = await _prepared(
        services, spec, idempotency_key=idempotency_key, replay_of=replay_of, retry_of=retry_of
    )
    submitted = await services.submissions.ask(submission, n_bytes=len(encode_json(spec)))
    # Whoever is told its own id has made the job, even if the first answer was lost and the call was repeated.
    return msgspec.structs.replace(submitted, created=submitted.job_id == submission.job_id)


async def retry_all(services: Services, job_ids: Sequence[JobId]) -> dict[JobId, JobId | ErrorInfo]:
    """Run failed jobs again, in this order, some at a time in one step each. -> for each the job it was retried as, by
    this call or another, or why it cannot be."""
    answers: dict[JobId, JobId | ErrorInfo] = {}
    for queue in sorted({queue_of(job_id) for job_id in job_ids}):
        of_queue = [job_id for job_id in job_ids if queue_of(job_id) == queue]
        for i in range(0, len(of_queue), _RETRIES_AT_ONCE):
            answers |= await _retry_some(services, queue, of_queue[i : i + _RETRIES_AT_ONCE])
    return answers


async def _retry_some(services: Services, queue: QueueName, job_ids: Sequence[JobId]) -> dict[JobId, JobId | ErrorInfo]:
    answers: dict[JobId, JobId | ErrorInfo] = {}
    submissions: dict[JobId, Submission] = {}
    for job_id in job_ids:
        try:
            spec = (await services.ledger.find(job_id)).spec
            submissions[job_id] = await _prepared(services, again(spec), retry_of=job_id)
        except BackendUnavailable:
            raise
        except HeadraceError as error:
            answers[job_id] = error.info()
        except msgspec.DecodeError:
            answers[job_id] = SpecRejected("the job's specification cannot be read").info()
    if submissions:
        made = await services.ledger.submit_all(queue, list(submissions.values()))
        answers |= {job_id: retried_as for job_id, (_, retried_as) in zip(submissions, made, strict=True)}
    return answers


async def _prepared(
    services: Services,
    spec: JobSpec,
    *,
    idempotency_key: str | None = None,
    replay_of: JobId | None = None,
    retry_of: JobId | None = None,
) -> Submission:
    """What to store: checked, its queue on record, its seed and version of the model pinned."""
    queue = _queue(spec)
    # The fingerprint is of what the client meant: before seeds are drawn and versions pinned.
    fingerprint = hashlib.sha256(encode_json(spec)).hexdigest()
    _check_paths(spec)
    await _check_parents(services, spec)
    pinned = msgspec.structs.replace(await _pin(services, spec), queue=queue)
    if queue not in services.registered:
        await services.ledger.register_queue(queue)
        services.registered.add(queue)
    return Submission(
        job_id=new_job_id(queue, now_ms=time.time_ns() // 1_000_000, entropy=secrets.token_bytes(10)),
        spec=pinned,
        idempotency_key=None if idempotency_key is None else hashlib.sha256(idempotency_key.encode()).hexdigest(),
        fingerprint=fingerprint,
        replay_of=replay_of,
        retry_of=retry_of,
    )


def again(spec: JobSpec) -> JobSpec:
    """The spec to run once more, now: without what belonged to the time of the first run."""
    return msgspec.structs.replace(spec, run_at=None, depends_on=(), start_deadline_s=None)


def _queue(spec: JobSpec) -> QueueName:
    kind = JobKind.TRAINING if isinstance(spec, TrainingSpec) else JobKind.INFERENCE
    if spec.queue is None:
        return default_queue(kind)
    try:
        queue = parse_queue(spec.queue)
    except MalformedId as error:
        raise SpecRejected(str(error), pointer="/queue") from None
    if kind_of_queue(queue) is not kind:
        raise SpecRejected(f"a queue of {kind} jobs is named {kind} or {kind}-…", pointer="/queue")
    return queue


def _check_paths(spec: JobSpec) -> None:
    """What no data root can hold. The worker, which has the files, checks the rest."""
    if not isinstance(spec, TrainingSpec):
        return
    for field in ("data_path", "validation_path"):
        path = getattr(spec, field)
        if path is not None and _FORBIDDEN_IN_PATH.search(path):
            # One message for all, so that it tells nothing about what is there.
            raise PathNotAllowed("a path names a file under the data root", pointer=f"/{field}")


async def _check_parents(services: Services, spec: JobSpec) -> None:
    for i, parent in enumerate(spec.depends_on):
        await _exists(services, parent, pointer=f"/depends_on/{i}")
    if isinstance(spec, TrainingSpec) and spec.resume_from is not None:
        source = await _exists(services, spec.resume_from, pointer="/resume_from")
        if kind_of(source) is not JobKind.TRAINING:
            raise SpecRejected("only a training job can be resumed from", pointer="/resume_from")


async def _exists(services: Services, text: str, *, pointer: str) -> JobId:
    try:
        job_id = parse_job_id(text)
        await services.ledger.find(job_id)
    except (MalformedId, JobNotFound, JobExpired):
        raise SpecRejected("there is no such job", pointer=pointer) from None
    return job_id


async def _pin(services: Services, spec: JobSpec) -> JobSpec:
    """Fix what a replay must repeat: the seed and the version of the model."""
    if isinstance(spec, TrainingSpec):
        return spec if spec.seed is not None else msgspec.structs.replace(spec, seed=secrets.randbits(_SEED_BITS))
    parameters = spec.parameters
    if parameters.seed is None:
        parameters = msgspec.structs.replace(parameters, seed=secrets.randbits(_SEED_BITS))
    return msgspec.structs.replace(spec, model_id=await _pinned_model(services, spec), parameters=parameters)


async def _pinned_model(services: Services, spec: InferenceSpec) -> str:
    if is_job_id(spec.model_id) and spec.model_id in spec.depends_on:
        # It will exist by the time this job may run.
        return spec.model_id
    try:
        return str(await services.pins.ask(spec.model_id))
    except (MalformedId, ModelNotFound):
        raise ModelNotFound("no such model is published; GET /models lists those that are") from None

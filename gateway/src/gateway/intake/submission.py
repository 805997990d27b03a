"""From decoded bodies to stored jobs, one or many. Knows no transport."""

import hashlib
from collections.abc import Sequence

import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.errors import (
    BackendUnavailable,
    ErrorInfo,
    HeadraceError,
    InvalidInput,
    JobExpired,
    ModelNotFound,
    SpecRejected,
)
from shared_schemas.ids import JobId, QueueName, queue_of
from shared_schemas.job import JobState
from shared_schemas.specs import JobSpec
from shared_schemas.stream.submission import Stored, Submission

from gateway.intake.admission import admit, new_id_for, new_ids, queue_for
from gateway.services import Services

# A list is stored in one step, which holds up Redis for as long as these take.
LONGEST_LIST = 500
# A spec may have a megabyte: one step must hold up neither Redis nor this process's memory.
_RETRIES_AT_ONCE = 50


async def submit(
    services: Services,
    spec: JobSpec,
    *,
    job_id: JobId | None = None,
    idempotency_key: str | None = None,
    replay_of: JobId | None = None,
    retry_of: JobId | None = None,
) -> Stored:
    """job_id: a new one by default. SpecRejected, InvalidInput, ModelNotFound, IdempotencyConflict, StateConflict,
    BackendUnavailable."""
    submission = await admit(services, spec, job_id or new_id_for(spec), replay_of=replay_of, retry_of=retry_of)
    body = encode_json(spec)
    if idempotency_key is not None:
        submission = _with_key(submission, idempotency_key, body)
    submitted = await services.submissions.ask(submission, n_bytes=len(body))
    # Whoever is told its own id has made the job, even if the first answer was lost and the call was repeated.
    return Stored(submitted.job_id, created=submitted.job_id == submission.job_id)


async def submit_list(
    services: Services, specs: Sequence[JobSpec], *, idempotency_key: str | None = None
) -> list[Stored]:
    """As submit, for jobs of one queue, all of which are stored in one step, or none. What is wrong with one of them is
    told with its place."""
    queue, models = queue_for(specs[0]), dict[str, str]()
    ids = new_ids(queue, len(specs))
    submissions = []
    for place, (spec, job_id) in enumerate(zip(specs, ids, strict=True)):
        try:
            if queue_for(spec) != queue:
                raise SpecRejected("the jobs of one list go to one queue", pointer="/queue")
            submissions.append(await admit(services, spec, job_id, models=models))
        except InvalidInput as error:
            error.pointer = f"/{place}{error.pointer or ''}"
            raise
        except ModelNotFound as error:
            raise ModelNotFound(f"job {place} of the list, counted from 0: {error}") from None
    if idempotency_key is not None:
        submissions[0] = _with_key(submissions[0], idempotency_key, encode_json(specs))
    made = await services.submitter.submit_list(submissions)
    return [Stored(each.job_id, created=made[0].job_id == ids[0]) for each in made]


async def states_of(services: Services, job_ids: Sequence[JobId]) -> list[JobState]:
    """JobExpired."""
    states = await services.jobs.states(job_ids)
    found = [state for state in states.values() if state is not None]
    if len(found) < len(job_ids):
        raise JobExpired("the result_ttl of some of the jobs has passed")
    return found


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
            job = await services.jobs.find(job_id)
            spec = again(job.spec)
            submissions[job_id] = await admit(
                services, spec, new_id_for(spec), retry_of=job_id, replay_of=job.replay_of
            )
        except BackendUnavailable:
            raise
        except HeadraceError as error:
            answers[job_id] = error.info()
        except msgspec.DecodeError:
            answers[job_id] = SpecRejected("the job's specification cannot be read").info()
    if submissions:
        made = await services.submitter.submit_all(queue, list(submissions.values()))
        answers |= {job_id: retried_as for job_id, (_, retried_as) in zip(submissions, made, strict=True)}
    return answers


def again(spec: JobSpec) -> JobSpec:
    """The spec to run once more, now: without what belonged to the time of the first run."""
    return msgspec.structs.replace(spec, run_at=None, depends_on=(), start_deadline_s=None)


def _with_key(submission: Submission, key: str, body: bytes) -> Submission:
    """body: what the client meant, before seeds were drawn and versions pinned."""
    return msgspec.structs.replace(
        submission,
        idempotency_key=hashlib.sha256(key.encode()).hexdigest(),
        fingerprint=hashlib.sha256(body).hexdigest(),
    )

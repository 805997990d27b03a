"""From decoded bodies to stored jobs, one or many. Knows no transport."""

import hashlib
import os
import time
from collections.abc import Sequence

import msgspec
from shared_schemas.codec import encode_json, with_encoded_input
from shared_schemas.errors import (
    BackendUnavailable,
    ErrorInfo,
    HeadraceError,
    InvalidInput,
    MalformedId,
    ModelNotFound,
    QueueFull,
    SpecRejected,
)
from shared_schemas.ids import (
    JobId,
    QueueName,
    default_queue,
    job_ids_from,
    kind_of_queue,
    new_job_id,
    parse_queue,
    queue_of,
)
from shared_schemas.specs import JobSpec, kind_of_spec
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.submission import Stored, Submission, Submitter, submitted

from gateway.intake.admission import Admission
from gateway.intake.coalescing import Coalescer

# A list is stored in one step, and Redis does nothing else meanwhile.
LONGEST_LIST = 500
# A spec may have a megabyte. One step must neither block Redis for long nor fill this process's
# memory.
_RETRIES_AT_ONCE = 50


class StoredJob(msgspec.Struct, frozen=True):
    """spec: as it is stored if this request created the job. first_event: see Stored; only if the
    submission was followed."""

    job_id: JobId
    created: bool
    spec: JobSpec
    first_event: bytes | None = None


class Submissions:
    """coalescer: joins single submissions that arrive together. submitter: stores lists."""

    def __init__(
        self, *, admission: Admission, coalescer: Coalescer[Submission, Stored], submitter: Submitter, jobs: Jobs
    ) -> None:
        self._admission, self._coalescer, self._submitter, self._jobs = admission, coalescer, submitter, jobs

    async def submit(
        self,
        spec: JobSpec,
        *,
        job_id: JobId | None = None,
        idempotency_key: str | None = None,
        replay_of: JobId | None = None,
        retry_of: JobId | None = None,
        is_followed: bool = False,
    ) -> StoredJob:
        """job_id: from `new_ids`; a new one by default. is_followed: the caller has asked for the
        channel of job_id. SpecRejected, InvalidInput, ModelNotFound, IdempotencyConflict,
        StateConflict, QueueFull, BackendUnavailable."""
        queue = queue_for(spec)
        is_again = replay_of is not None or retry_of is not None
        pinned = await self._admission.admit(spec, queue, is_again=is_again)
        spec, pinned = with_encoded_input(spec, pinned)
        job_id = job_id or new_ids(queue, 1)[0]
        submission = Submission(
            job_id=job_id, spec=pinned, replay_of=replay_of, retry_of=retry_of, is_followed=is_followed
        )
        body = encode_json(spec)
        if idempotency_key is not None:
            submission = _with_key(submission, idempotency_key, body)
        stored = await self._coalescer.ask(submission, n_bytes=len(body))
        created = stored.created or (stored.job_id == job_id and await self._is_stored(job_id, pinned))
        return StoredJob(stored.job_id, created, pinned, stored.first_event)

    async def submit_list(
        self,
        specs: Sequence[JobSpec],
        *,
        job_ids: Sequence[JobId] | None = None,
        idempotency_key: str | None = None,
        is_followed: bool = False,
    ) -> list[Stored]:
        """As submit, for jobs of one queue. All of them are stored in one step, or none. An error
        says at which place of the list it is."""
        queue, models = queue_for(specs[0]), dict[str, str]()
        ids = job_ids or new_ids(queue, len(specs))
        submissions = []
        for place, (spec, job_id) in enumerate(zip(specs, ids, strict=True)):
            try:
                if queue_for(spec) != queue:
                    raise SpecRejected("the jobs of one list go to one queue", pointer="/queue")
                pinned = await self._admission.admit(spec, queue, models=models)
            except InvalidInput as error:
                error.pointer = f"/{place}{error.pointer or ''}"
                raise
            except ModelNotFound as error:
                raise ModelNotFound(f"job {place} of the list, counted from 0: {error}") from None
            submissions.append(Submission(job_id=job_id, spec=pinned, is_followed=is_followed))
        if idempotency_key is not None:
            submissions[0] = _with_key(submissions[0], idempotency_key, encode_json(specs))
        made = await self._submitter.submit_list(submissions)
        created = made[0].created or (made[0].job_id == ids[0] and await self._is_stored(ids[0], submissions[0].spec))
        return [Stored(each.job_id, created, each.first_event) for each in made]

    async def _is_stored(self, job_id: JobId, spec: JobSpec) -> bool:
        """Whether the job, which exists under an id that this request made, is this request's own: its
        answer was lost, and the call repeated. If not, another request with the same
        Idempotency-Key stored its own spec, with another seed, under the id that the key has."""
        return encode_json((await self._jobs.find(job_id)).spec) == encode_json(spec)

    async def retry_all(self, job_ids: Sequence[JobId]) -> dict[JobId, JobId | ErrorInfo]:
        """Run failed jobs again, in this order, some at a time in one step each. -> for each job
        the one that it was retried as, by this call or an earlier one, or why it cannot be."""
        answers: dict[JobId, JobId | ErrorInfo] = {}
        for queue in sorted({queue_of(job_id) for job_id in job_ids}):
            of_queue = [job_id for job_id in job_ids if queue_of(job_id) == queue]
            for i in range(0, len(of_queue), _RETRIES_AT_ONCE):
                answers |= await self._retry_some(queue, of_queue[i : i + _RETRIES_AT_ONCE])
        return answers

    async def _retry_some(self, queue: QueueName, job_ids: Sequence[JobId]) -> dict[JobId, JobId | ErrorInfo]:
        answers: dict[JobId, JobId | ErrorInfo] = {}
        submissions: dict[JobId, Submission] = {}
        for job_id in job_ids:
            try:
                job = await self._jobs.find(job_id)
                spec = again(job.spec)
                pinned = await self._admission.admit(spec, queue, is_again=True)
                [new_id] = new_ids(queue, 1)
                submissions[job_id] = Submission(job_id=new_id, spec=pinned, retry_of=job_id, replay_of=job.replay_of)
            except BackendUnavailable:
                raise
            except HeadraceError as error:
                answers[job_id] = error.info()
            except msgspec.DecodeError:
                answers[job_id] = SpecRejected("the job's specification cannot be read").info()
        if submissions:
            made = await self._submitter.submit_all(queue, list(submissions.values()))
            for job_id, each in zip(submissions, made, strict=True):
                result = submitted(each)
                answers[job_id] = result.info() if isinstance(result, QueueFull) else each.job_id
        return answers


def queue_for(spec: JobSpec) -> QueueName:
    """The queue that the spec names, or that of its kind. SpecRejected."""
    kind = kind_of_spec(spec)
    if spec.queue is None:
        return default_queue(kind)
    try:
        queue = parse_queue(spec.queue)
    except MalformedId as error:
        raise SpecRejected(str(error), pointer="/queue") from None
    if kind_of_queue(queue) is not kind:
        raise SpecRejected(f"a queue of {kind} jobs is named {kind} or {kind}-…", pointer="/queue")
    return queue


def new_ids(queue: QueueName, n: int) -> list[JobId]:
    """n: more than one for a list, whose ids are all computed from the first."""
    first = new_job_id(queue, now_ms=time.time_ns() // 1_000_000, entropy=os.urandom(10))
    return [first] if n == 1 else job_ids_from(first, n)


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

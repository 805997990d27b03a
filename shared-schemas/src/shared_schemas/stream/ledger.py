"""The durable jobs, from the side that submits and asks. Runs nothing and follows nothing."""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias, cast

import msgspec

from shared_schemas.codec import WIRE_VERSION, encode_json
from shared_schemas.errors import (
    ErrorInfo,
    IdempotencyConflict,
    JobExpired,
    JobNotFound,
    JobUnreadable,
    StateConflict,
)
from shared_schemas.events import Reason
from shared_schemas.ids import JobId, QueueName, is_queue, job_ids_from, queue_of
from shared_schemas.job import (
    Job,
    JobState,
    QueueStatus,
    WorkerStatus,
)
from shared_schemas.lifecycle import TRANSITIONS
from shared_schemas.specs import InferenceSpec, JobSpec, Priority
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.damage import or_nothing, reply_of
from shared_schemas.stream.declaring import declare
from shared_schemas.stream.idempotency import IDEMPOTENCY_TTL_MS, claim_keys, is_claimed_first
from shared_schemas.stream.keys import LANES, Lane
from shared_schemas.stream.listing import Page, page_of, sets_of_jobs
from shared_schemas.stream.queues import Queues, workers_of
from shared_schemas.stream.record import UNREADABLE, record_of
from shared_schemas.stream.redis_errors import translated
from shared_schemas.stream.rows import JOB_UNREADABLE, fields_of, job_of
from shared_schemas.stream.transitions import packed_arguments, transition

_LANE_OF = {priority: Lane(priority.value) for priority in Priority}
_NOTHING_RARE = (None,) * 5


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """job_id: made by the caller, which makes a repeated call harmless. idempotency_key: sha256 hex of the
    client's key; fingerprint: sha256 hex of the body as decoded."""

    job_id: JobId
    spec: JobSpec
    idempotency_key: str | None = None
    fingerprint: str = ""
    replay_of: JobId | None = None
    retry_of: JobId | None = None


class Stored(msgspec.Struct, frozen=True):
    """job_id: the job that stands for the submission; created: False if it stood before."""

    job_id: JobId
    created: bool


SubmitResult: TypeAlias = Stored | IdempotencyConflict | StateConflict


class Ledger:
    def __init__(self, client: AsyncRedis) -> None:
        self._client = client

    async def submit(self, submission: Submission) -> Stored:
        """Store the job and make it ready, or scheduled if it waits for a time or for other jobs.

        IdempotencyConflict: the key was used with another body. StateConflict: the job in retry_of was retried.
        """
        [answer] = await self.submit_many([submission])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def submit_list(self, submissions: Sequence[Submission]) -> list[Stored]:
        """As submit, for a list of jobs of one queue that has one idempotency key, its first's: all are stored, in one
        step, or none. Their ids: of job_ids_from. IdempotencyConflict."""
        first = submissions[0]
        made = await self.submit_all(queue_of(first.job_id), submissions, is_list=True)
        answer = _submitted(*made[0])
        if isinstance(answer, Exception):
            raise answer
        if answer.job_id == first.job_id:
            return [Stored(submission.job_id, answer.created) for submission in submissions]
        return [Stored(job_id, answer.created) for job_id in job_ids_from(answer.job_id, len(submissions))]

    async def submit_many(self, submissions: Sequence[Submission]) -> list[SubmitResult]:
        """As submit, for jobs of any queues, in one step for each queue; what submit would raise is an answer here."""
        answers: dict[int, SubmitResult] = {}
        places: dict[QueueName, list[int]] = {}
        for place, submission in enumerate(submissions):
            places.setdefault(queue_of(submission.job_id), []).append(place)
        for queue, of_queue in places.items():
            made = await self.submit_all(queue, [submissions[place] for place in of_queue])
            answers |= {place: _submitted(*answer) for place, answer in zip(of_queue, made, strict=True)}
        return [answers[place] for place in range(len(submissions))]

    async def submit_all(
        self, queue: QueueName, submissions: Sequence[Submission], *, is_list: bool = False
    ) -> list[tuple[str, JobId]]:
        """As submit, for many jobs of one queue in one step. is_list: all or none, as the first is created or not.
        -> for each "created", "exists", "conflict" or "retried", and the job that stands for it."""
        has_keys = any(submission.idempotency_key is not None for submission in submissions)
        claimed = await claim_keys(self._client, submissions) if has_keys else {}
        if is_list and 0 in claimed:
            how, job_id = claimed[0]
            if how == "conflict":
                return [claimed[0]] * len(submissions)
            submissions = [
                msgspec.structs.replace(each, job_id=its_id)
                for each, its_id in zip(submissions, job_ids_from(job_id, len(submissions)), strict=True)
            ]
        elif claimed:
            return await self._submit_claimed(queue, submissions, claimed)
        return await self._store(queue, submissions, is_list=is_list)

    async def _submit_claimed(
        self, queue: QueueName, submissions: Sequence[Submission], claimed: dict[int, tuple[str, JobId]]
    ) -> list[tuple[str, JobId]]:
        """Each under the id that its key stands for; what a key stands for already is not stored."""
        answers = {place: claim for place, claim in claimed.items() if claim[0] == "conflict"}
        stored = {
            place: msgspec.structs.replace(each, job_id=claimed[place][1]) if place in claimed else each
            for place, each in enumerate(submissions)
            if place not in answers
        }
        if stored:
            made = await self._store(queue, list(stored.values()), is_list=False)
            answers |= dict(zip(stored, made, strict=True))
        return [answers[place] for place in range(len(submissions))]

    async def _store(
        self, queue: QueueName, submissions: Sequence[Submission], *, is_list: bool
    ) -> list[tuple[str, JobId]]:
        traits: dict[tuple[Any, ...], int] = {}
        answers = await scripts.call(
            self._client,
            "submit",
            keys.tag(queue),
            {
                "items": [_submit_item(submission, traits) for submission in submissions],
                "traits": list(traits),
                "is_list": is_list,
                "version": WIRE_VERSION,
                "queued": transition(Reason.SUBMITTED),
                "idem_ttl_ms": IDEMPOTENCY_TTL_MS,
            },
            seldom=_packed_for_submit(),
        )
        made = [("created", submission.job_id) for submission in submissions]
        for place, answer, known in answers:
            made[place - 1] = (answer.decode(), JobId(known.decode()))
        return made

    async def find(self, job_id: JobId) -> Job:
        """JobNotFound; JobExpired once its result_ttl has passed; JobUnreadable if this version cannot decode it."""
        with translated():
            fields = await reply_of(self._client.hgetall(keys.job(job_id)))
            if fields is None:
                raise JobUnreadable(JOB_UNREADABLE.message)
            if not fields and await self._client.exists(keys.gone(job_id)):
                raise JobExpired("the job's result_ttl has passed")
        if not fields:
            raise JobNotFound("no such job")
        try:
            return job_of(job_id, fields_of(fields))
        except UNREADABLE as error:
            raise JobUnreadable(JOB_UNREADABLE.message) from error

    async def list_jobs(
        self,
        queue: QueueName,
        *,
        states: Sequence[JobState] = (),
        tag: str | None = None,
        limit: int = 20,
        before: JobId | None = None,
    ) -> Page:
        """Newest first. before: list those older than this job. tag: only with it."""
        wanted, sets = tuple(states) or tuple(JobState), sets_of_jobs(states, tag)
        return await page_of(self._client, queue, sets, states=wanted, limit=limit, before=before)

    async def cancel(self, job_id: JobId) -> JobState:
        """Cancel the job now if it is not running, else ask its attempt to end. -> cancelled or running.
        JobNotFound; StateConflict if it has ended otherwise."""
        return await cancel(self._client, job_id)

    async def pause(self, job_id: JobId) -> JobState:
        """Set the job aside, or ask its attempt to save a checkpoint and let go. -> paused or running."""
        answer = await scripts.call(
            self._client,
            "request_pause",
            keys.tag(queue_of(job_id)),
            {
                "id": job_id,
                "paused": transition(Reason.PAUSED, sources=frozenset({JobState.SCHEDULED, JobState.QUEUED})),
                "requested": transition(Reason.PAUSE_REQUESTED),
            },
        )
        return _heed(answer, {b"paused": JobState.PAUSED, b"requested": JobState.RUNNING})

    async def resume(self, job_id: JobId) -> JobState:
        """Let a paused job go on. -> queued, scheduled, or running if the pause was withdrawn in time; where it goes on
        already, its state."""
        answer = await scripts.call(
            self._client,
            "resume",
            keys.tag(queue_of(job_id)),
            {
                "id": job_id,
                "queued": transition(Reason.RESUMED),
                "scheduled": transition(Reason.SCHEDULED),
                "withdrawn": transition(Reason.PAUSE_WITHDRAWN),
            },
        )
        return _heed(
            answer,
            {
                b"queued": JobState.QUEUED,
                b"scheduled": JobState.SCHEDULED,
                b"withdrawn": JobState.RUNNING,
            },
        )

    async def queue_position(self, job_id: JobId) -> int | None:
        """How many jobs are served before this one; None unless it is queued."""
        queue = queue_of(job_id)
        with translated():
            pipeline = self._client.pipeline(transaction=True)
            for lane in LANES:
                listing = keys.listing(queue, JobState.QUEUED, lane)
                pipeline.zrank(listing, job_id)
                pipeline.zcard(listing)
            replies = or_nothing(await pipeline.execute(raise_on_error=False))
        ahead = 0
        for rank, size in zip(replies[::2], replies[1::2], strict=True):
            if rank is not None:
                return ahead + cast(int, rank)
            ahead += size or 0
        return None

    async def queues(self) -> list[QueueName]:
        """Those that were declared; see queues.Queues for those that there are."""
        with translated():
            names = await reply_of(self._client.zrange(keys.DECLARED, 0, -1)) or ()
        return sorted(QueueName(name) for member in names if is_queue(name := member.decode(errors="replace")))

    async def register_queue(self, queue: QueueName) -> None:
        await declare(self._client, [queue])

    async def queue_status(self, queue: QueueName) -> QueueStatus:
        [status] = await Queues(self._client).statuses([queue])
        return status

    async def states(self, job_ids: Sequence[JobId]) -> dict[JobId, JobState | None]:
        """None for a job that is not there."""
        return await states_of(self._client, job_ids)

    async def count_workers(self, queue: QueueName) -> int:
        """How many are registered."""
        with translated():
            seconds, _ = await self._client.time()
            return cast(int, await reply_of(self._client.zcount(keys.workers(queue), seconds * 1000, "+inf")) or 0)

    async def workers(self, queue: QueueName) -> list[WorkerStatus]:
        return workers_of(queue, await scripts.call(self._client, "workers", keys.tag(queue), {}))


def _submitted(answer: str, job_id: JobId) -> SubmitResult:
    match answer:
        case "conflict":
            return IdempotencyConflict("this Idempotency-Key was used with another body")
        case "retried":
            return StateConflict(f"the job was retried before, as {job_id}")
        case _:
            return Stored(job_id, created=answer == "created")


async def states_of(client: AsyncRedis, job_ids: Sequence[JobId]) -> dict[JobId, JobState | None]:
    """None for a job that is not there."""
    with translated():
        pipeline = client.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hget(keys.job(job_id), "job")
        states = [record_of(record).get("state") for record in await pipeline.execute(raise_on_error=False)]
    return {job_id: None if state is None else JobState(state) for job_id, state in zip(job_ids, states, strict=True)}


async def cancel(client: AsyncRedis, job_id: JobId, error: ErrorInfo | None = None) -> JobState:
    """As Ledger.cancel; error: why, where it was not asked for by a person."""
    sources = TRANSITIONS[Reason.CANCELLED].sources - {JobState.RUNNING}
    cancelled = transition(Reason.CANCELLED, sources=sources, error=error)
    if error is not None:
        cancelled["error"] = encode_json(error).decode()
    answer = await scripts.call(
        client,
        "request_cancel",
        keys.tag(queue_of(job_id)),
        {
            "id": job_id,
            "cancelled": cancelled,
            "requested": transition(Reason.CANCEL_REQUESTED),
        },
    )
    if answer[0] == b"refused" and answer[1].decode() == JobState.CANCELLED:
        return JobState.CANCELLED
    return _heed(answer, {b"cancelled": JobState.CANCELLED, b"requested": JobState.RUNNING})


def _heed(answer: list[bytes], meanings: dict[bytes, JobState]) -> JobState:
    if answer[0] == b"missing":
        raise JobNotFound("no such job")
    if answer[0] == b"refused":
        raise StateConflict(f"the job is {answer[1].decode()}")
    return meanings[answer[0]]


@cache
def _packed_for_submit() -> bytes:
    return packed_arguments({"scheduled": transition(Reason.SCHEDULED)})


def _submit_item(submission: Submission, places: dict[tuple[Any, ...], int]) -> list[Any]:
    """places: of the traits that jobs before this one have, and now of its own."""
    spec = submission.spec
    traits = (
        _LANE_OF[spec.priority],
        spec.model_id if isinstance(spec, InferenceSpec) else spec.model_type,
        " ".join(spec.tags),
        " ".join(spec.depends_on),
        _ms(spec.result_ttl_s),
    )
    item: list[Any] = [submission.job_id, encode_json(spec).decode(), places.setdefault(traits, len(places) + 1)]
    # Few have any of these, and a table with names costs a script several times what a list does.
    rare = (spec.run_at, spec.start_deadline_s, submission.idempotency_key, submission.replay_of, submission.retry_of)
    if rare != _NOTHING_RARE:
        item.append(_rare(submission))
    return item


def _rare(submission: Submission) -> dict[str, Any]:
    spec, is_first = submission.spec, is_claimed_first(submission)
    rare = {
        "run_at": None if spec.run_at is None else round(spec.run_at.timestamp() * 1000),
        "deadline_after_ms": None if spec.start_deadline_s is None else _ms(spec.start_deadline_s),
        "idem": None if is_first else submission.idempotency_key,
        "is_claimed": is_first or None,
        "fingerprint": submission.fingerprint or None,
        "replay_of": submission.replay_of,
        "retry_of": submission.retry_of,
    }
    return {name: value for name, value in rare.items() if value is not None}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

"""Stores new jobs, each in one step with its first event and its place in a lane or in the
schedule. Knows no HTTP."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import msgspec

from shared_schemas.codec import WIRE_VERSION, encode_json
from shared_schemas.errors import IdempotencyConflict, QueueFull, SpecRejected, StateConflict
from shared_schemas.events import Reason
from shared_schemas.ids import JobId, QueueName, job_ids_from, queue_of
from shared_schemas.specs import JobSpec, Priority
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.drain_rate import DrainRate, retry_after_s
from shared_schemas.stream.idempotency import IDEMPOTENCY_TTL_MS, claim_keys, is_claimed_first, release_keys
from shared_schemas.stream.keys import Lane
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.queue_limits import NO_LIMITS, QueueLimits
from shared_schemas.stream.transitions import packed_arguments, transition

_LANE_OF = {priority: Lane(priority.value) for priority in Priority}
# The answers of submit.lua after which a job is not stored, and its key stands for none.
_REFUSED = ("full", "retried")
_NO_OPTIONAL_FIELDS = (None,) * 5


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """job_id: made by the caller, so that a repeated call is harmless. idempotency_key: SHA-256 in hex of the client's
    key. fingerprint: SHA-256 in hex of the decoded body. is_followed: the caller has asked for the job's channel."""

    job_id: JobId
    spec: JobSpec
    idempotency_key: str | None = None
    fingerprint: str = ""
    replay_of: JobId | None = None
    retry_of: JobId | None = None
    is_followed: bool = False


class Stored(msgspec.Struct, frozen=True):
    """job_id: the job of this submission. created: False if it existed before. first_event: the payload of a
    notification; only if the submission was followed and this call created the job while its channel had a subscriber,
    which is notified of every later event."""

    job_id: JobId
    created: bool
    first_event: bytes | None = None


class Made(msgspec.Struct, frozen=True, gc=False):
    """how: "created", "exists", "conflict", "retried" or "full". job_id: of the job that is stored; for "full", why.
    first_event: see Stored."""

    how: str
    job_id: JobId
    first_event: bytes | None = None


SubmitResult: TypeAlias = Stored | IdempotencyConflict | StateConflict | QueueFull


class Submitter:
    """limits: how many jobs may wait in each queue."""

    def __init__(self, nodes: Nodes, *, limits: QueueLimits = NO_LIMITS) -> None:
        self._nodes, self._limits = nodes, limits

    async def submit(self, submission: Submission) -> Stored:
        """Store the job. It is ready, or scheduled if it waits for a time or for other jobs.

        IdempotencyConflict: the key was used with another body. StateConflict: the job in retry_of was retried.
        QueueFull.
        """
        [answer] = await self.submit_many([submission])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def submit_list(self, submissions: Sequence[Submission]) -> list[Stored]:
        """As submit, for a list of jobs of one queue. The list has one idempotency key, that of its first job. All jobs
        are stored in one step, or none. Their ids must come from job_ids_from. IdempotencyConflict; QueueFull;
        SpecRejected if the list is longer than its queue may ever be."""
        first = submissions[0]
        queue = queue_of(first.job_id)
        made = await self._submit_all(queue, submissions, is_list=True)
        answer = submitted(made[0])
        limit = self._limits.of(queue)
        if isinstance(answer, QueueFull) and limit is not None and len(submissions) > limit:
            raise SpecRejected(f"at most {limit} jobs may wait in this queue, and the list has {len(submissions)}")
        if isinstance(answer, Exception):
            raise answer
        if answer.job_id == first.job_id:
            return [Stored(each.job_id, answer.created, each.first_event) for each in made]
        return [Stored(job_id, answer.created) for job_id in job_ids_from(answer.job_id, len(submissions))]

    async def submit_many(self, submissions: Sequence[Submission]) -> list[SubmitResult]:
        """As submit, for jobs of any queues, in one step for each queue. Errors are returned, not raised."""
        answers: dict[int, SubmitResult] = {}
        places: dict[QueueName, list[int]] = {}
        for place, submission in enumerate(submissions):
            places.setdefault(queue_of(submission.job_id), []).append(place)
        for queue, of_queue in places.items():
            made = await self._submit_all(queue, [submissions[place] for place in of_queue])
            answers |= {place: submitted(answer) for place, answer in zip(of_queue, made, strict=True)}
        return [answers[place] for place in range(len(submissions))]

    async def submit_all(self, queue: QueueName, submissions: Sequence[Submission]) -> list[Made]:
        """As submit, for many jobs of one queue in one step. `submitted` makes results of the answers."""
        return await self._submit_all(queue, submissions)

    async def _submit_all(
        self, queue: QueueName, submissions: Sequence[Submission], *, is_list: bool = False
    ) -> list[Made]:
        """is_list: all are created if the first one is, else none."""
        has_keys = any(submission.idempotency_key is not None for submission in submissions)
        claimed = await claim_keys(self._nodes, submissions) if has_keys else {}
        if is_list and 0 in claimed:
            how, job_id = claimed[0]
            if how == "conflict":
                return [Made(how, job_id)] * len(submissions)
            submissions = [
                msgspec.structs.replace(each, job_id=its_id)
                for each, its_id in zip(submissions, job_ids_from(job_id, len(submissions)), strict=True)
            ]
        elif claimed:
            return await self._submit_claimed(queue, submissions, claimed)
        made = await self._store(queue, submissions, is_list=is_list)
        if claimed and made[0].how in _REFUSED:
            await release_keys(self._nodes, [(submissions[0], submissions[0].job_id)])
        return made

    async def _submit_claimed(
        self, queue: QueueName, submissions: Sequence[Submission], claimed: dict[int, tuple[str, JobId]]
    ) -> list[Made]:
        """Store each under the id that its key was claimed for; nothing for a key that has another body."""
        answers = {place: Made(*claim) for place, claim in claimed.items() if claim[0] == "conflict"}
        stored = {
            place: msgspec.structs.replace(each, job_id=claimed[place][1]) if place in claimed else each
            for place, each in enumerate(submissions)
            if place not in answers
        }
        if stored:
            made = await self._store(queue, list(stored.values()), is_list=False)
            refused = [
                (submissions[place], claimed[place][1])
                for place, answer in zip(stored, made, strict=True)
                if place in claimed and answer.how in _REFUSED
            ]
            if refused:
                await release_keys(self._nodes, refused)
            answers |= dict(zip(stored, made, strict=True))
        return [answers[place] for place in range(len(submissions))]

    async def _store(self, queue: QueueName, submissions: Sequence[Submission], *, is_list: bool) -> list[Made]:
        places: dict[tuple[Any, ...], int] = {}
        arguments = {
            "items": [_submit_item(submission, places) for submission in submissions],
            "traits": list(places),
            "is_list": is_list,
            "version": WIRE_VERSION,
            "queued": _queued(),
            "idem_ttl_ms": IDEMPOTENCY_TTL_MS,
        }
        limit = self._limits.of(queue)
        if limit is not None:
            arguments["limit"] = limit
        if followed := [place for place, submission in enumerate(submissions, 1) if submission.is_followed]:
            arguments["followed"] = followed
        answers = await scripts.call(
            self._nodes.of_queue(queue), "submit", keys.tag(queue), arguments, rare_arguments=_packed_for_submit()
        )
        made = [Made("created", submission.job_id) for submission in submissions]
        for place, how, known in answers:
            if how == b"followed":
                made[place - 1] = Made("created", submissions[place - 1].job_id, known)
            else:
                made[place - 1] = Made(how.decode(), JobId(known.decode()))
        return made


def submitted(made: Made) -> SubmitResult:
    """What submit.lua answers for one job."""
    match made.how:
        case "full":
            waiting, ended, took_ms, workers = map(int, made.job_id.split())
            detail = f"{waiting} jobs wait in the queue, as many as its limit allows"
            return QueueFull(
                detail if workers else f"{detail}, and no worker is running",
                retry_after_s=retry_after_s(DrainRate.measured(ended, took_ms), workers=workers),
            )
        case "conflict":
            return IdempotencyConflict("this Idempotency-Key was used with another body")
        case "retried":
            return StateConflict(f"the job was retried before, as {made.job_id}")
        case how:
            return Stored(made.job_id, how == "created", made.first_event)


@cache
def _queued() -> Mapping[str, Any]:
    return transition(Reason.SUBMITTED)


@cache
def _packed_for_submit() -> bytes:
    return packed_arguments({"scheduled": transition(Reason.SCHEDULED)})


def _submit_item(submission: Submission, places: dict[tuple[Any, ...], int]) -> list[Any]:
    """places: where the script finds the shared fields of the jobs so far. Those of this job are added."""
    spec = submission.spec
    shared_fields = (
        _LANE_OF[spec.priority],
        spec.subject,
        " ".join(spec.tags),
        " ".join(spec.depends_on),
        _ms(spec.result_ttl_s),
    )
    place = places.setdefault(shared_fields, len(places) + 1)
    item: list[Any] = [submission.job_id, encode_json(spec).decode(), place]
    # Few jobs have any of these, and a map costs a script several times as much as a list.
    optional = (
        spec.run_at, spec.start_deadline_s, submission.idempotency_key, submission.replay_of, submission.retry_of
    )  # fmt: skip
    if optional != _NO_OPTIONAL_FIELDS:
        item.append(_optional_fields(submission))
    return item


def _optional_fields(submission: Submission) -> dict[str, Any]:
    spec, is_first = submission.spec, is_claimed_first(submission)
    fields = {
        "run_at": None if spec.run_at is None else round(spec.run_at.timestamp() * 1000),
        "deadline_after_ms": None if spec.start_deadline_s is None else _ms(spec.start_deadline_s),
        "idem": None if is_first else submission.idempotency_key,
        "is_claimed": is_first or None,
        "fingerprint": submission.fingerprint or None,
        "replay_of": submission.replay_of,
        "retry_of": submission.retry_of,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

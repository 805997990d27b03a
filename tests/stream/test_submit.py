"""Submitting: the job, its entry and its key appear together, once."""

from datetime import UTC, datetime, timedelta

import anyio
import msgspec
import pytest
from shared_schemas.errors import IdempotencyConflict, JobExpired, JobNotFound, StateConflict
from shared_schemas.ids import JobId, job_ids_from, new_job_id
from shared_schemas.job import JobState
from shared_schemas.specs import InferenceSpec, Priority
from shared_schemas.stream import keys
from shared_schemas.stream.pubsub import PubSubConnection
from shared_schemas.stream.submission import Stored, Submission

from tests.support.queue_bench import OUTCOMES, queue_bench
from tests.support.workers import INFERENCE

SPEC = InferenceSpec(model_id="m", input_data={"π": [1, 2.5, None]})


def an_id(n: int = 0) -> JobId:
    return new_job_id(INFERENCE, now_ms=1_000 + n, entropy=bytes(10))


async def test_a_submitted_job_is_queued_with_its_spec(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submitter.submit(Submission(job_id=an_id(), spec=SPEC))
        job = await side.folded(an_id())

        assert (job.state, job.spec, job.attempt) == (JobState.QUEUED, SPEC, 0)
        assert await side.listings(an_id()) == ["queued:normal"]


async def test_a_ready_entry_holds_the_job_id_and_nothing_else(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submitter.submit(Submission(job_id=an_id(), spec=SPEC))
        [(_, fields)] = await side.client.xrange("{hr:inference}:ready:normal")

        assert fields == {b"job": an_id().encode()}


async def test_the_same_call_twice_makes_one_job(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        first = await side.submitter.submit(Submission(job_id=an_id(), spec=SPEC))
        again = await side.submitter.submit(Submission(job_id=an_id(), spec=SPEC))

        assert (first.created, again.created) == (True, False)
        assert len(await side.events(an_id())) == 1
        assert await side.client.xlen("{hr:inference}:ready:normal") == 1


async def test_a_key_names_one_job_however_many_submit_at_once(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        answers = []

        async def submit(n: int) -> None:
            submission = Submission(job_id=an_id(n), spec=SPEC, idempotency_key="k", fingerprint="f")
            answers.append(await side.submitter.submit(submission))

        async with anyio.create_task_group() as group:
            for n in range(50):
                group.start_soon(submit, n)

        assert len({answer.job_id for answer in answers}) == 1
        assert sum(answer.created for answer in answers) == 1
        assert len((await side.jobs.list_jobs(INFERENCE, limit=100)).jobs) == 1


async def test_a_list_is_one_however_often_it_is_sent(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        answers = []

        async def submit(n: int) -> None:
            ids = job_ids_from(an_id(n), 3)
            first, *rest = [Submission(job_id=job_id, spec=SPEC) for job_id in ids]
            keyed = msgspec.structs.replace(first, idempotency_key="k", fingerprint="f")
            for _ in range(2):
                answers.append(await side.submitter.submit_list([keyed, *rest]))

        async with anyio.create_task_group() as group:
            for n in range(0, 50, 5):
                group.start_soon(submit, n)

        assert len({tuple(each.job_id for each in answer) for answer in answers}) == 1
        assert [all(each.created for each in answer) for answer in answers].count(True) == 1
        assert len((await side.jobs.list_jobs(INFERENCE, limit=100)).jobs) == 3


async def test_a_key_with_another_body_is_refused(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submitter.submit(Submission(job_id=an_id(1), spec=SPEC, idempotency_key="k", fingerprint="f"))

        with pytest.raises(IdempotencyConflict):
            await side.submitter.submit(Submission(job_id=an_id(2), spec=SPEC, idempotency_key="k", fingerprint="g"))
        with pytest.raises(JobNotFound):
            await side.jobs.find(an_id(2))


async def test_a_job_for_later_waits_and_one_for_the_past_does_not(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        later = await side.submit(run_at=datetime.now(UTC) + timedelta(hours=1))
        past = await side.submit(run_at=datetime.now(UTC) - timedelta(hours=1))

        job = await side.folded(later)
        assert job.state is JobState.SCHEDULED
        assert job.due_at is not None
        assert (await side.folded(past)).state is JobState.QUEUED
        assert [claim.job_id for claim in await side.claim()] == [past]


async def test_a_failed_job_is_retried_once_as_a_new_one(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim()
        await side.settle(claim, OUTCOMES["failure"])
        assert [job.id for job in (await side.dead_letters.page(INFERENCE)).jobs] == [job_id]

        await side.submitter.submit(Submission(job_id=an_id(1), spec=SPEC, retry_of=job_id))

        assert (await side.folded(an_id(1))).retry_of == job_id
        assert (await side.folded(job_id)).state is JobState.FAILED
        assert (await side.dead_letters.page(INFERENCE)).jobs == []
        with pytest.raises(StateConflict):
            await side.submitter.submit(Submission(job_id=an_id(2), spec=SPEC, retry_of=job_id))


async def test_lanes_are_served_in_order_and_first_in_first_out(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        low = [await side.submit(priority=Priority.LOW) for _ in range(2)]
        normal = [await side.submit() for _ in range(2)]
        high = [await side.submit(priority=Priority.HIGH) for _ in range(2)]
        waiting = [await side.jobs.waiting(job_id) for job_id in (*high, *normal, *low)]

        claimed = [claim.job_id for _ in range(3) for claim in await side.claim(slots=2)]

        assert [each.position for each in waiting if each is not None] == [0, 1, 2, 3, 4, 5]
        assert claimed == [*high, *normal, *low]


async def test_a_finished_job_is_dropped_with_all_that_belongs_to_it(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit(result_ttl_s=1.0, tags=("red",))
        [claim] = await side.claim()
        await side.settle(claim, OUTCOMES["failure"])
        await side.client.zadd("{hr:inference}:expiring", {job_id: 1})

        assert await side.schedule.sweep() == 1

        with pytest.raises(JobExpired):
            await side.jobs.find(job_id)
        left = [name.decode() async for name in side.client.scan_iter() if job_id in name.decode()]
        assert left == [f"{{hr:inference}}:gone:{job_id}"]
        for name in ("listing:failed:normal", "tagged:red", "dead", "dead:bad", "expiring", "leases", "deadlines"):
            assert await side.client.zscore(f"{{hr:inference}}:{name}", job_id) is None


async def test_an_open_job_never_expires(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submit(result_ttl_s=1.0)
        [claim] = await side.claim()

        assert await side.client.zcard("{hr:inference}:expiring") == 0
        assert await side.schedule.sweep() == 0
        assert await side.settle(claim, OUTCOMES["success"])


async def test_a_followed_job_is_answered_with_its_first_event_if_somebody_listens(redis_url: str) -> None:
    heard, unheard, plain = an_id(1), an_id(2), an_id(3)
    followed = [Submission(job_id=job_id, spec=SPEC, is_followed=True) for job_id in (heard, unheard)]
    async with queue_bench(redis_url) as side, PubSubConnection(side.client) as pubsub:
        await pubsub.subscribe(*map(keys.job_channel, (heard, plain)))
        messages = pubsub.messages()
        confirmed = [await anext(messages) for _ in range(2)]
        made = await side.submitter.submit_many([*followed, Submission(job_id=plain, spec=SPEC)])
        again = await side.submitter.submit_many(followed)
        listed = await side.submitter.submit_list(
            [Submission(job_id=job_id, spec=SPEC, is_followed=True) for job_id in job_ids_from(an_id(4), 2)]
        )
        [claim] = await side.claim(slots=1)
        channel, payload = await anext(messages)
        stored = {job_id: await side.client.hget(keys.job(job_id), "1") for job_id in (heard, unheard)}

    assert {payload for _, payload in confirmed} == {None}
    assert made == [
        Stored(heard, created=True, first_event=b"1 " + stored[heard]),
        Stored(unheard, created=True),
        Stored(plain, created=True),
    ]
    assert again == [Stored(job_id, created=False) for job_id in (heard, unheard)]
    assert [each.first_event for each in listed] == [None, None]
    # Each later event is notified.
    assert (claim.job_id, channel) == (heard, keys.job_channel(heard))
    assert payload is not None
    assert payload.startswith(b'2 state {"n":2,')

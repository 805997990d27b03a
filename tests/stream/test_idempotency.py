"""An Idempotency-Key names one job, whatever queue it is sent to, even if a process dies in between."""

import anyio
import msgspec
import pytest
from shared_schemas.errors import IdempotencyConflict, JobExpired
from shared_schemas.ids import JobId, QueueName, job_ids_from, new_job_id
from shared_schemas.specs import InferenceSpec, JobSpec, TrainingSpec
from shared_schemas.stream import idempotency
from shared_schemas.stream.submission import Submission, Submitter

from tests.support.queue_bench import OUTCOMES, QueueBench, queue_bench
from tests.support.workers import INFERENCE

OTHER, TRAINING = QueueName("inference-other"), QueueName("training")
QUEUES = (INFERENCE, OTHER, TRAINING, QueueName("training-large.3"))


def keyed(n: int = 0, *, queue: QueueName = OTHER, key: str | None = "k", fingerprint: str = "f") -> Submission:
    job_id = new_job_id(queue, now_ms=1_000 + n, entropy=bytes(10))
    spec: JobSpec = InferenceSpec(model_id="m", input_data=1)
    if queue.startswith("training"):
        spec = TrainingSpec(model_type="mlp", data_path="a.csv", seed=1)
    return Submission(job_id=job_id, spec=spec, idempotency_key=key, fingerprint=fingerprint if key else "")


async def count_jobs(side: QueueBench) -> int:
    return sum([1 async for _ in side.client.scan_iter(match="{hr:*}:job:*")])


@pytest.mark.quick
@pytest.mark.parametrize("second", QUEUES)
@pytest.mark.parametrize("first", QUEUES)
async def test_a_key_used_in_one_queue_is_used_in_every_other(
    redis_url: str, first: QueueName, second: QueueName
) -> None:
    async with queue_bench(redis_url) as side:
        made = await side.submitter.submit(keyed(1, queue=first, fingerprint=f"of {first}".replace(" ", "-")))
        again = keyed(2, queue=second, fingerprint=f"of-{second}")

        if first == second:
            assert (await side.submitter.submit(again)).job_id == made.job_id
        else:
            with pytest.raises(IdempotencyConflict):
                await side.submitter.submit(again)
        assert await count_jobs(side) == 1


@pytest.mark.quick
@pytest.mark.parametrize("queue", QUEUES)
async def test_fifty_at_once_with_one_key_are_one_job_in_any_queue(redis_url: str, queue: QueueName) -> None:
    async with queue_bench(redis_url) as side:
        named: set[JobId] = set()

        async def submit(n: int) -> None:
            for answer in await side.submitter.submit_many([keyed(n, queue=queue), keyed(n + 100, queue=queue)]):
                assert not isinstance(answer, Exception)
                named.add(answer.job_id)

        async with anyio.create_task_group() as group:
            for n in range(25):
                group.start_soon(submit, n)

        assert len(named) == 1
        assert await count_jobs(side) == 1


@pytest.mark.quick
async def test_one_call_with_many_keys_answers_for_each(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submitter.submit(keyed(0, key="used", fingerprint="g"))
        asked = [keyed(1, key=None), keyed(2), keyed(3, key="used"), keyed(4), keyed(5, key="used", fingerprint="g")]

        conflict = (await side.submitter.submit_many(asked))[2]
        made = await side.submitter.submit_all(OTHER, asked)

        assert isinstance(conflict, IdempotencyConflict)
        assert [each.how for each in made] == ["exists", "exists", "conflict", "exists", "exists"]
        assert [each.job_id for each in made][:4] == [
            asked[0].job_id,
            asked[1].job_id,
            keyed(0).job_id,
            asked[1].job_id,
        ]
        assert await count_jobs(side) == 3


@pytest.mark.quick
async def test_a_key_claimed_by_a_process_that_died_before_it_stored_the_job_loses_and_blocks_nothing(
    redis_url: str,
) -> None:
    async with queue_bench(redis_url) as side:
        await idempotency.claim_keys(side.nodes, [keyed(1)])
        with pytest.raises(IdempotencyConflict):
            await side.submitter.submit(keyed(2, fingerprint="g"))

        made = await side.submitter.submit(keyed(3))

        assert made.job_id == keyed(1).job_id
        assert (await side.submitter.submit(keyed(4))).job_id == made.job_id
        assert (await side.jobs.find(made.job_id)).id == made.job_id
        assert await count_jobs(side) == 1


@pytest.mark.quick
async def test_a_list_of_another_queue_is_one_whoever_died(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:

        def a_list(n: int) -> list[Submission]:
            first, *rest = [
                msgspec.structs.replace(keyed(n, key=None), job_id=i) for i in job_ids_from(keyed(n).job_id, 3)
            ]
            return [msgspec.structs.replace(first, idempotency_key="k", fingerprint="f"), *rest]

        await idempotency.claim_keys(side.nodes, a_list(1))
        made = [await side.submitter.submit_list(a_list(n)) for n in (20, 40)]

        assert [[each.job_id for each in answer] for answer in made] == [[each.job_id for each in a_list(1)]] * 2
        assert await count_jobs(side) == 3
        with pytest.raises(IdempotencyConflict):
            await side.submitter.submit(keyed(60, queue=INFERENCE, fingerprint="g"))


@pytest.mark.quick
async def test_a_key_whose_job_has_expired_does_not_run_it_again(redis_url: str) -> None:
    async with queue_bench(redis_url, OTHER) as side:
        made = await side.submitter.submit(keyed(1))
        [claim] = await side.claim()
        await side.settle(claim, OUTCOMES["success"])
        await side.client.zadd("{hr:inference-other}:expiring", {made.job_id: 1})
        assert await side.schedule.sweep() == 1

        again = await side.submitter.submit(keyed(2))

        assert (again.job_id, again.created) == (made.job_id, False)
        with pytest.raises(JobExpired):
            await side.jobs.find(made.job_id)
        assert await count_jobs(side) == 0


@pytest.mark.quick
@pytest.mark.parametrize(
    ("queue", "key", "calls"), [(INFERENCE, None, 1), (INFERENCE, "k", 1), (OTHER, None, 1), (OTHER, "k", 2)]
)
async def test_a_key_costs_one_call_more_at_most(redis_url: str, queue: QueueName, key: str | None, calls: int) -> None:
    async with queue_bench(redis_url) as side:
        await side.submitter.submit(keyed(1, queue=queue, key=key))
        await side.client.config_resetstat()

        await Submitter(side.nodes).submit(keyed(2, queue=queue, key=key and "other"))

        stats = await side.client.info("commandstats")
        assert stats["cmdstat_evalsha"]["calls"] == calls

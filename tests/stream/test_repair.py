"""A fault that loses entries, groups, consumers or scripts loses no job."""

import pytest
from shared_schemas.errors import BackendUnavailable, JobNotFound
from shared_schemas.job import JobState
from shared_schemas.stream.fitness import faults_of
from shared_schemas.stream.redis_settings import RedisSettings

from tests.support.queue_bench import OUTCOMES, QueueBench, queue_bench, success
from tests.support.redis_server import RedisServer

READY = "{hr:inference}:ready:normal"


async def trim(side: QueueBench) -> None:
    await side.client.xtrim(READY, maxlen=0, approximate=False)


async def delete(side: QueueBench) -> None:
    await side.client.delete(READY)


async def destroy_group(side: QueueBench) -> None:
    await side.client.xgroup_destroy(READY, "workers")


async def destroy_and_recreate_at_the_end(side: QueueBench) -> None:
    await side.client.xgroup_destroy(READY, "workers")
    await side.client.xgroup_create(READY, "workers", id="$")


async def deliver_to_a_consumer_and_delete_it(side: QueueBench) -> None:
    await side.client.xreadgroup("workers", "doomed", {READY: ">"}, count=100)
    await side.client.xgroup_delconsumer(READY, "workers", "doomed")


FAULTS = [trim, delete, destroy_group, destroy_and_recreate_at_the_end, deliver_to_a_consumer_and_delete_it]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_queued_job_survives(redis_url: str, fault: object) -> None:
    async with queue_bench(redis_url) as side:
        jobs = [await side.submit() for _ in range(5)]
        await fault(side)  # type: ignore[operator]

        await side.recovery.repair()
        claims = [*await side.claim("a"), *await side.claim("b")]

        assert sorted(claim.job_id for claim in claims) == sorted(jobs)
        for claim in claims:
            assert await side.settle(claim, success())
        assert await side.recovery.repair() == 0


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_running_job_settles_all_the_same(redis_url: str, fault: object) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim("a")
        await fault(side)  # type: ignore[operator]

        await side.recovery.repair()
        assert await side.claim("b") == []
        assert side.leases("a").renew({job_id: claim.fence}, {})[job_id].held
        assert await side.settle(claim, success())
        assert (await side.folded(job_id)).state is JobState.SUCCEEDED


async def test_an_entry_delivered_and_never_begun_is_delivered_again(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        await side.client.xreadgroup("workers", "dead", {READY: ">"}, count=1)
        assert await side.claim() == []

        assert await side.recovery.redeliver(idle_s=0.0, worker="a") == 1

        [claim] = await side.claim()
        assert (claim.job_id, claim.attempt) == (job_id, 1)


async def test_an_entry_that_was_delivered_and_trimmed_stays_pending_for_nobody(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        await side.worker("a")
        await side.client.xreadgroup("workers", "dead", {READY: ">"}, count=1)
        await trim(side)

        assert await side.recovery.redeliver(idle_s=0.0, worker="a") == 0
        assert await side.pending() == 0
        assert await side.recovery.repair() == 1
        [claim] = await side.claim()

    assert claim.job_id == job_id


async def test_redelivery_leaves_running_jobs_alone(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submit()
        [claim] = await side.claim("a")

        assert await side.recovery.redeliver(idle_s=0.0, worker="b") == 0

        assert await side.claim("b") == []
        assert await side.settle(claim, success())
        assert await side.pending() == 0


async def test_forged_entries_are_dropped_and_stop_nobody(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.client.xadd(READY, {"job": "inference-00000000000000000000000000"})
        await side.client.xadd(READY, {"nonsense": "x" * 10_000})
        await side.client.xadd(READY, {"job": b"\xff\xfe"})
        job_id = await side.submit()

        assert [claim.job_id for claim in await side.claim()] == [job_id]
        assert await side.pending() == 1


async def test_a_second_entry_of_the_same_job_runs_nothing(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        await side.client.xadd(READY, {"job": job_id})

        assert len(await side.claim()) == 1
        assert await side.claim("b") == []


async def test_a_running_job_without_a_lease_gets_one_and_can_be_reclaimed(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        await side.claim("a")
        await side.client.delete("{hr:inference}:leases")

        assert await side.recovery.repair() == 1

        assert [job.job_id for job in await side.recovery.silent_jobs(lease_s=10)] == [job_id]


async def test_scripts_that_redis_forgot_are_loaded_again(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        await side.client.script_flush()
        [claim] = await side.claim()
        await side.client.script_flush()
        assert side.leases().renew({job_id: claim.fence}, {})[job_id].held
        await side.client.script_flush()
        assert await side.settle(claim, success())


async def test_after_a_flush_a_worker_learns_that_its_job_is_gone(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim()
        await side.client.flushall()

        assert not await side.settle(claim, success())
        assert not side.leases().renew({job_id: claim.fence}, {})[job_id].held
        with pytest.raises(JobNotFound):
            await side.jobs.find(job_id)
        fresh = await side.submit()
        assert [c.job_id for c in await side.claim()] == [fresh]


async def test_a_restarted_redis_has_every_job(own_redis: RedisServer) -> None:
    async with queue_bench(own_redis.url) as side:
        running, retried, queued = [await side.submit() for _ in range(3)]
        first, second = await side.claim(slots=2)
        await side.settle(second, OUTCOMES["retry"])
        own_redis.kill()
        with pytest.raises(BackendUnavailable):
            await side.jobs.find(running)
        own_redis.start()

        assert (await side.folded(running)).state is JobState.RUNNING
        assert (await side.folded(queued)).state is JobState.QUEUED
        assert (await side.folded(retried)).state is JobState.SCHEDULED
        assert await side.settle(first, success())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://user:pa@ss@host:1/2?password=secret", "rediss://host:1/2"),
        ("unix://user:secret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_an_address_for_logs_holds_no_credentials(url: str, address: str) -> None:
    assert RedisSettings(redis_url=url).redis_address == address


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"redis_version": "6.0.16"}, "6.2"),
        ({"maxmemory_policy": "allkeys-lru"}, "noeviction"),
        ({"aof_enabled": 0}, "append-only"),
        ({"role": "slave"}, "replica"),
        ({"aof_last_write_status": "err"}, "disk"),
    ],
)
def test_an_unfit_server_is_named_in_one_sentence(facts: dict[str, object], word: str) -> None:
    fit = {"redis_version": "6.2.14", "maxmemory_policy": "noeviction", "aof_enabled": 1, "role": "master"}

    assert faults_of(fit) == []
    [fault] = faults_of(fit | facts)
    assert word in fault

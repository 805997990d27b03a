"""What somebody deletes from Redis under a running queue: everything, groups, consumers, streams,
single jobs.

The hash of a job is the truth. Everything else is made again in bounded time, and no job runs twice
because of it.
"""

import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec
import pytest
from shared_schemas.errors import JobNotFound
from shared_schemas.events import Emitted
from shared_schemas.ids import JobId
from shared_schemas.job import Job, JobState
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.keys import LANES, Lane

from tests.support.outage import READY, destroy_groups, healthy
from tests.support.worker_process import worker_process
from tests.support.workers import INFERENCE, Bench, bench, until_blocked

LEASE_S = 2.0
# A worker looks for stuck jobs every two seconds, or every half a lease if that is longer.
REPAIR_S = 3.0
NORMAL = keys.ready(INFERENCE, Lane.NORMAL)


async def delete_consumers(redis: AsyncRedis) -> None:
    for stream in READY:
        if await redis.exists(stream):
            for group in await redis.xinfo_groups(stream):
                for consumer in await redis.xinfo_consumers(stream, group["name"]):
                    await redis.xgroup_delconsumer(stream, group["name"], consumer["name"])


async def delete_streams(redis: AsyncRedis) -> None:
    await redis.delete(*READY)


async def trim_streams(redis: AsyncRedis) -> None:
    for stream in READY:
        await redis.xtrim(stream, maxlen=0, approximate=False)


Damage = Callable[[AsyncRedis], Awaitable[None]]
DAMAGES: dict[str, Damage] = {
    damage.__name__: damage for damage in (destroy_groups, delete_consumers, delete_streams, trim_streams)
}


def assert_ran_once(jobs: list[Job]) -> None:
    assert {(job.state, job.attempt, job.crashes, job.failures) for job in jobs} == {(JobState.SUCCEEDED, 1, 0, 0)}


async def assert_at_rest(redis: AsyncRedis) -> None:
    """Assert that no entry is left, delivered or not."""
    for stream in READY:
        assert await redis.xlen(stream) == 0
        groups = await redis.xinfo_groups(stream) if await redis.exists(stream) else []
        assert [group["pending"] for group in groups] in ([], [0])


@pytest.mark.quick
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.fault(
    "redis",
    "groups are destroyed, consumers deleted, lane streams deleted or trimmed to nothing, with jobs queued and running",
    sees="running jobs continue, queued ones run within 3 s; each runs once",
)
async def test_what_is_deleted_around_queued_and_running_jobs_makes_none_run_twice_or_never(
    redis_url: str, tmp_path: Path, damage: str
) -> None:
    log = tmp_path / "worker.log"
    async with bench(redis_url) as side:
        with worker_process(redis_url, "obey", lease_s=LEASE_S, slots=2, log=log, log_format="json"):
            running = [await side.submit(input_data=name) for name in ("speak", "linger")]
            for job_id in running:
                await side.until_state(job_id, JobState.RUNNING)
            queued = [await side.submit(input_data="answer") for _ in range(20)]

            await DAMAGES[damage](side.client)
            damaged_at = time.monotonic()

            await side.done(running[1])
            # Now a slot is free.
            free_at = max(time.monotonic(), damaged_at + REPAIR_S)
            jobs = [await side.done(job_id) for job_id in queued]
            late_s = time.monotonic() - free_at
            jobs += [await side.done(job_id) for job_id in running]
        await assert_at_rest(side.client)

    assert_ran_once(jobs)
    assert late_s < REPAIR_S
    healthy(log)


@pytest.mark.quick
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.fault(
    "redis",
    "groups, consumers or streams are deleted at random moments while jobs arrive and end",
    sees="nothing, or a pause of 3 s for a job whose entry was deleted; each runs once",
)
async def test_deleting_again_and_again_under_load_makes_none_run_twice_or_never(
    redis_url: str, rng: random.Random, damage: str
) -> None:
    async with bench(redis_url) as side, anyio.create_task_group() as group:

        async def keep_damaging() -> None:
            for _ in range(30):
                await DAMAGES[damage](side.client)
                await anyio.sleep(rng.uniform(0.0, 0.1))

        with worker_process(redis_url, "answer", slots=4), worker_process(redis_url, "answer", slots=4):
            group.start_soon(keep_damaging)
            job_ids = [await side.submit() for _ in range(150)]
            jobs = [await side.done(job_id) for job_id in job_ids]

    assert_ran_once(jobs)


@pytest.mark.quick
@pytest.mark.fault(
    "redis", "XGROUP DELCONSUMER for a worker that waits for work", sees="nothing: the next job runs at once"
)
async def test_a_waiting_worker_whose_consumer_was_deleted_takes_the_next_job(redis_url: str) -> None:
    async with bench(redis_url) as side:
        with worker_process(redis_url, "answer", lease_s=15.0):
            await side.done(await side.submit())
            await until_blocked(side.client)
            await delete_consumers(side.client)
            submitted_at = time.monotonic()
            job = await side.done(await side.submit())
            took_s = time.monotonic() - submitted_at
        await assert_at_rest(side.client)

    assert_ran_once([job])
    assert took_s < 1.0


@pytest.mark.quick
@pytest.mark.fault(
    "redis",
    "the stream of a lane with a long backlog is deleted",
    sees="the whole backlog runs, without a wait for each part",
)
async def test_a_long_backlog_whose_stream_was_deleted_is_repaired_at_once(redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    async with bench(redis_url) as side:
        job_ids = [await side.submit() for _ in range(1000)]
        await side.client.delete(NORMAL)
        with worker_process(redis_url, "answer", slots=64, log=log, log_format="json"):
            jobs = [await side.done(job_id) for job_id in job_ids]

    assert_ran_once(jobs)
    lines = [msgspec.json.decode(line) for line in log.read_bytes().splitlines()]
    # The jobs are five pages. One page per check would be five log lines, seconds apart.
    assert [line["repaired"] for line in lines if line["event"] == "queue_repaired"] == [1000]


@pytest.mark.quick
@pytest.mark.fault(
    "redis", "FLUSHALL with jobs queued and running", sees="404 for all of them; new jobs run within 5 s"
)
async def test_a_flushed_queue_serves_new_jobs_and_knows_none_of_the_old(redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    async with bench(redis_url) as side:
        with worker_process(redis_url, "obey", lease_s=LEASE_S, slots=4, log=log, log_format="json") as worker:
            old = [await side.submit(input_data="tick") for _ in range(4)]
            for job_id in old:
                await side.until(job_id, lambda event: isinstance(event, Emitted))
            old += [await side.submit(input_data="answer") for _ in range(20)]

            await side.client.flushall()
            flushed_at = time.monotonic()
            # All four slots are taken by jobs that no longer exist.
            jobs = [await side.done(await side.submit(input_data="answer")) for _ in range(8)]
            took_s = time.monotonic() - flushed_at
            assert worker.poll() is None
        for job_id in old:
            with pytest.raises(JobNotFound):
                await side.jobs.find(job_id)
        left = [name async for name in side.client.scan_iter() if any(job_id.encode() in name for job_id in old)]

    assert_ran_once(jobs)
    assert left == []
    assert took_s < 5.0
    assert len(healthy(log)) < 60


@pytest.mark.quick
@pytest.mark.fault(
    "redis", "the hashes of a queued and of a running job are deleted", sees="404; the attempt stops; other jobs run"
)
async def test_a_deleted_job_is_forgotten_and_holds_up_no_other(redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    async with bench(redis_url) as side:
        with worker_process(redis_url, "obey", lease_s=LEASE_S, slots=1, log=log, log_format="json"):
            running = await side.submit(input_data="tick")
            await side.until(running, lambda event: isinstance(event, Emitted))
            queued = [await side.submit(input_data="answer") for _ in range(3)]

            await side.client.delete(keys.job(running), keys.job(queued[1]))
            jobs = [await side.done(queued[0]), await side.done(queued[2])]

            with anyio.fail_after(2 * REPAIR_S):
                while await listings_naming(side, running, queued[1]):  # noqa: ASYNC110 - nor this
                    await anyio.sleep(0.05)
            n_lines = len(healthy(log))
            # It runs until after the next check, which finds nothing to repair.
            await side.done(await side.submit(input_data="speak"))
            repairs = [line for line in healthy(log)[n_lines:] if line["event"] == "queue_repaired"]
        await assert_at_rest(side.client)
        left = [await side.client.zscore(keys.leases(INFERENCE), job_id) for job_id in (running, queued[1])]

    assert_ran_once(jobs)
    assert repairs == []
    assert left == [None, None]


async def listings_naming(side: Bench, *job_ids: JobId) -> list[bytes]:
    """The listings of open jobs that contain one of these jobs."""
    names = [keys.listing(INFERENCE, state, lane) for state in ("queued", "running") for lane in LANES]
    return [name for name in names for job_id in job_ids if await side.client.zscore(name, job_id) is not None]


@pytest.mark.quick
@pytest.mark.fault("redis", "an entry of a finished job is delivered again", sees="nothing: it is skipped")
async def test_a_stray_entry_of_a_finished_job_is_skipped(redis_url: str) -> None:
    async with bench(redis_url) as side:
        with worker_process(redis_url, "answer"):
            job_id = await side.submit()
            await side.done(job_id)
            ended_with = await side.events(job_id)
            for _ in range(3):
                await side.client.xadd(NORMAL, {"job": job_id})
            # All entries before it in the stream were read.
            await side.done(await side.submit())
        assert await side.events(job_id) == ended_with
        await assert_at_rest(side.client)

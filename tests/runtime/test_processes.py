"""What happens to the jobs of worker processes that are killed, stopped, blocked or asked to end."""

import signal
import time

import anyio
import pytest
from shared_schemas.errors import JobNotFound
from shared_schemas.events import Emitted, Reason, StateChanged
from shared_schemas.job import JobState

from tests.support.redis_server import RedisServer
from tests.support.worker_process import worker_process
from tests.support.workers import bench

LEASE_S = 1.5


@pytest.mark.quick
@pytest.mark.fault(
    "workers", "kill -9 of a worker while its job runs", sees="the job runs again within one lease + 3 s, as attempt 2"
)
async def test_a_killed_workers_job_runs_again_within_a_lease_and_three_seconds(redis_url: str) -> None:
    async with bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "hang", lease_s=LEASE_S) as first:
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            with worker_process(redis_url, "answer", lease_s=LEASE_S, slots=4) as second:
                other = await side.submit()
                await side.done(other)
                first.kill()
                killed_at = time.monotonic()
                job = await side.done(job_id)
                took_s = time.monotonic() - killed_at
                assert second.poll() is None

    assert (job.state, job.attempt, job.crashes, job.failures) == (JobState.SUCCEEDED, 2, 1, 0)
    assert took_s < LEASE_S + 3.0


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "a job kills every worker that runs it",
    sees="after the second worker it is a dead letter, `poison`; the queue continues",
)
async def test_a_job_that_kills_its_worker_twice_kills_no_third(redis_url: str) -> None:
    async with bench(redis_url) as side:
        job_id = await side.submit()
        for _ in range(2):
            with worker_process(redis_url, "crash", lease_s=1.0) as worker:
                with anyio.fail_after(20):
                    await anyio.to_thread.run_sync(worker.wait)
        with worker_process(redis_url, "answer", lease_s=1.0):
            job = await side.done(job_id)
            assert (await side.done(await side.submit())).state is JobState.SUCCEEDED

    assert (job.state, job.crashes) == (JobState.FAILED, 2)
    assert job.error is not None
    assert job.error.code == "poison"


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "SIGSTOP of a worker past its lease, SIGCONT after the second attempt",
    sees="one result, of attempt 2, and nothing of attempt 1 after it",
)
async def test_a_worker_that_was_stopped_past_its_lease_writes_nothing_afterwards(redis_url: str) -> None:
    async with bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "speak", lease_s=LEASE_S) as zombie:
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            zombie.send_signal(signal.SIGSTOP)
            with worker_process(redis_url, "answer", lease_s=LEASE_S):
                job = await side.done(job_id)
                ended_with = await side.events(job_id)
                zombie.send_signal(signal.SIGCONT)
                # Once it has run another job, it is alive and has tried all its writes for the first one.
                zombie_job = await side.submit()
                await side.done(zombie_job)

        assert await side.events(job_id) == ended_with
        assert (await side.folded(job_id)) == job

    assert (job.state, job.attempt, bytes(job.result)) == (JobState.SUCCEEDED, 2, b"2")


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "the event loop of a worker is blocked for several leases",
    sees="nothing: the lease is renewed on another thread",
)
async def test_a_blocked_event_loop_keeps_its_lease(redis_url: str) -> None:
    async with bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "block", lease_s=1.0):
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            with worker_process(redis_url, "answer", lease_s=1.0):
                job = await side.done(job_id)

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 1, 0)


@pytest.mark.quick
@pytest.mark.fault("workers", "a job runs many times as long as the lease", sees="nothing: it runs once")
async def test_a_long_job_runs_once_while_its_worker_lives(redis_url: str) -> None:
    async with bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "speak", lease_s=0.6), worker_process(redis_url, "speak", lease_s=0.6):
            job = await side.done(job_id)

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 1, 0)


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "SIGTERM of a worker whose job stops when asked to",
    sees="the job is queued again at once; no failure and no crash is counted; exit status 0",
)
async def test_a_drained_worker_gives_its_job_back_without_counting_a_failure(redis_url: str) -> None:
    async with bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "let_go") as first:
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            first.send_signal(signal.SIGTERM)
            with anyio.fail_after(10):
                assert await anyio.to_thread.run_sync(first.wait) == 0
        assert (await side.folded(job_id)).state is JobState.QUEUED
        with worker_process(redis_url, "answer"):
            job = await side.done(job_id)
        reasons = [event.reason for event in await side.events(job_id) if isinstance(event, StateChanged)]

    assert (job.state, job.attempt, job.failures, job.crashes) == (JobState.SUCCEEDED, 2, 0, 0)
    assert reasons == [Reason.SUBMITTED, Reason.CLAIMED, Reason.RELEASED, Reason.CLAIMED]


@pytest.mark.quick
@pytest.mark.fault(
    "workers", "SIGTERM of a worker whose job does not stop", sees="the job is released when the grace period is over"
)
async def test_a_job_that_does_not_end_is_released_when_the_grace_is_over(redis_url: str) -> None:
    async with bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "hang", drain_grace_s=0.3) as worker:
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            worker.send_signal(signal.SIGTERM)
            with anyio.fail_after(10):
                assert await anyio.to_thread.run_sync(worker.wait) == 0
        job = await side.folded(job_id)
        workers = await side.workers.registered(job.queue)

    assert (job.state, job.failures, job.crashes) == (JobState.QUEUED, 0, 0)
    assert workers == []


@pytest.mark.quick
@pytest.mark.fault(
    "redis",
    "kill -9 of Redis while a job runs, restart with its append-only file",
    sees="nothing is missing: the same attempt continues",
)
async def test_a_job_continues_once_a_killed_redis_is_back(own_redis: RedisServer) -> None:
    async with bench(own_redis.url) as side:
        job_id = await side.submit()
        with worker_process(own_redis.url, "speak", lease_s=5.0):
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            own_redis.kill()
            own_redis.start()
            job = await side.done(job_id)
            chunks = [event.chunk for event in await side.events(job_id) if isinstance(event, Emitted)]
            assert (await side.done(await side.submit(), deadline_s=30)).state is JobState.SUCCEEDED

    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 1, 0)
    assert chunks == [f"{n} " for n in range(60)]


@pytest.mark.quick
@pytest.mark.fault("redis", "FLUSHALL while a job runs", sees="the attempt is stopped; GET returns 404; new jobs run")
async def test_a_worker_whose_job_vanished_keeps_running(redis_url: str) -> None:
    async with bench(redis_url) as side:
        job_id = await side.submit()
        with worker_process(redis_url, "let_go", lease_s=1.0):
            await side.until(job_id, lambda event: isinstance(event, Emitted))
            await side.client.flushall()
            fresh = await side.submit()
            await side.until(fresh, lambda event: isinstance(event, Emitted))
            try:
                await side.jobs.find(job_id)
            except JobNotFound:
                return
            raise AssertionError("a flushed job came back")

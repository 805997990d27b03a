"""Recovery of many jobs at once: all jobs of dead workers, and all entries that were delivered and
never begun.

The promise is one lease and 3 s. A busy machine may take longer to start processes and to run the
jobs, so twice as many seconds are allowed here. `python -m benchmarks recovery` measures how long
it takes.
"""

import pytest
from shared_schemas.job import JobState
from shared_schemas.stream import keys
from shared_schemas.stream.keys import GROUP, Lane

from tests.support.queue_bench import LEASE_S, queue_bench
from tests.support.recovery import seconds_until_begun, seconds_until_run_again
from tests.support.workers import INFERENCE, a_submission

FLEET_LEASE_S, ALLOWED_S = 8.0, 6.0
DEADLINE_S = 120.0


@pytest.mark.fault("workers", "kill -9 of a worker that runs 1,000 jobs", sees="all run again within one lease + 3 s")
@pytest.mark.fault(
    "workers", "kill -9 of four workers of 64 slots at once", sees="all jobs run again within one lease + 3 s"
)
@pytest.mark.parametrize(("workers", "slots"), [(1, 1000), (4, 64)])
async def test_all_jobs_of_dead_workers_run_again_within_a_lease_and_a_few_seconds(
    redis_url: str, workers: int, slots: int
) -> None:
    after_s, jobs = await seconds_until_run_again(
        redis_url, workers=workers, slots=slots, lease_s=FLEET_LEASE_S, deadline_s=DEADLINE_S
    )

    assert {(job.state, job.attempt, job.crashes) for job in jobs} == {(JobState.SUCCEEDED, 2, 1)}
    assert after_s < FLEET_LEASE_S + ALLOWED_S


@pytest.mark.fault(
    "workers",
    "5,000 entries are delivered to a worker that never starts them",
    sees="all are started within one lease + 3 s",
)
async def test_all_entries_that_were_delivered_and_not_begun_are_begun_within_a_lease_and_a_few_seconds(
    redis_url: str,
) -> None:
    after_s, jobs = await seconds_until_begun(redis_url, n_jobs=5000, lease_s=FLEET_LEASE_S, deadline_s=DEADLINE_S)

    assert {(job.state, job.attempt, job.crashes) for job in jobs} == {(JobState.SUCCEEDED, 1, 0)}
    assert after_s < FLEET_LEASE_S + ALLOWED_S


@pytest.mark.quick
@pytest.mark.fault(
    "workers", "a worker with 1,000 running jobs stops renewing its leases", sees="one check finds all of them"
)
async def test_one_check_finds_all_jobs_of_a_dead_worker_and_one_call_reclaims_them(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submitter.submit_all(INFERENCE, [a_submission() for _ in range(1000)])
        claims = [claim for _ in range(10) for claim in await side.claim(slots=100)]

        silent = await side.recovery.silent_jobs(lease_s=LEASE_S * 2)
        answers = await side.recovery.reclaim(silent)

        assert {job.job_id for job in silent} == {claim.job_id for claim in claims}
        assert answers == ["requeued"] * 1000
        assert await side.recovery.silent_jobs(lease_s=LEASE_S * 2) == []


@pytest.mark.quick
@pytest.mark.fault(
    "workers", "a worker stops to which 1,000 entries were delivered", sees="one call makes all of them ready again"
)
async def test_one_call_makes_all_entries_ready_again_that_were_not_begun(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submitter.submit_all(INFERENCE, [a_submission() for _ in range(1000)])
        await side.client.xreadgroup(GROUP, "gone", {keys.ready(INFERENCE, Lane.NORMAL): ">"}, count=1000)
        assert await side.recovery.redeliver(idle_s=60.0, worker="b") == 0
        assert side.recovery.next_redelivery_s is None

        assert await side.recovery.redeliver(idle_s=0.0, worker="b") == 1000
        assert await side.recovery.redeliver(idle_s=0.0, worker="b") == 0
        assert len(await side.claim("b", slots=1000)) == 1000


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "a worker stops with an entry that it has not started",
    sees="the entry is recovered when its lease is over, not one check later",
)
async def test_an_entry_that_nobody_begins_is_due_when_its_lease_is_over(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submit()
        ready = keys.ready(INFERENCE, Lane.NORMAL)
        [[_, [[entry, _]]]] = await side.client.xreadgroup(GROUP, "gone", {ready: ">"})
        await side.client.xclaim(ready, GROUP, "gone", 0, [entry], idle=40_000)

        assert await side.recovery.redeliver(idle_s=60.0, worker="b") == 0

        assert side.recovery.next_redelivery_s is not None
        assert 0 < side.recovery.next_redelivery_s <= 20

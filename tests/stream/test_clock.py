"""A wall clock of Redis that is set forward or back loses no job, whatever was waiting for a time."""

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from shared_schemas.ids import JobId
from shared_schemas.job import JobState

from tests.support.queue_bench import LEASE_S, QueueBench, queue_bench, success
from tests.support.redis_server import RedisServer, running_redis
from tests.support.shims import Shim

HOUR_S = 3600.0


@pytest.fixture
def clocked() -> Iterator[tuple[RedisServer, Shim]]:
    with tempfile.TemporaryDirectory(prefix="hr-") as folder:
        shim = Shim(Path(folder))
        with running_redis(Path(folder), environment=shim.environment) as server:
            yield server, shim


def set_clock(clocked: tuple[RedisServer, Shim], offset_s: float) -> None:
    server, shim = clocked
    shim.set_clock(offset_s)
    server.await_clock(offset_s)


def in_an_hour() -> datetime:
    return datetime.fromtimestamp(time.time() + HOUR_S, UTC)


async def finish(side: QueueBench, job_id: JobId) -> None:
    [claim] = await side.claim()
    assert claim.job_id == job_id
    assert await side.settle(claim, success())


async def test_a_job_whose_worker_died_while_the_clock_was_ahead_is_a_suspect_within_a_lease(
    clocked: tuple[RedisServer, Shim],
) -> None:
    server, _ = clocked
    async with queue_bench(server.url) as side:
        job_id = await side.submit()
        set_clock(clocked, 2 * HOUR_S)
        assert len(await side.claim()) == 1
        set_clock(clocked, 0.0)
        assert await side.recovery.silent_jobs(lease_s=LEASE_S) == []

        assert await side.recovery.repair() == 1
        assert await side.recovery.repair() == 0

        set_clock(clocked, LEASE_S)
        assert [job.job_id for job in await side.recovery.silent_jobs(lease_s=LEASE_S)] == [job_id]


async def test_a_job_that_waits_for_a_time_and_for_another_runs_though_the_clock_was_set_back_between(
    clocked: tuple[RedisServer, Shim],
) -> None:
    server, _ = clocked
    async with queue_bench(server.url) as side:
        parent = await side.submit()
        child = await side.submit(depends_on=(parent,), run_at=in_an_hour())
        set_clock(clocked, 2 * HOUR_S)
        assert (await side.schedule.promote()).promoted == 0
        set_clock(clocked, 0.0)
        await finish(side, parent)
        assert (await side.schedule.promote()).promoted == 0
        assert (await side.folded(child)).state is JobState.SCHEDULED

        set_clock(clocked, 2 * HOUR_S)
        assert (await side.schedule.promote()).promoted == 1
        await finish(side, child)


async def test_a_job_whose_time_has_passed_while_it_waits_for_another_needs_no_repair(
    clocked: tuple[RedisServer, Shim],
) -> None:
    server, _ = clocked
    async with queue_bench(server.url) as side:
        parent = await side.submit()
        child = await side.submit(depends_on=(parent,), run_at=in_an_hour())
        set_clock(clocked, 2 * HOUR_S)
        assert (await side.schedule.promote()).promoted == 0

        assert await side.recovery.repair() == 0

        await finish(side, parent)
        assert (await side.schedule.promote()).promoted == 1
        await finish(side, child)


async def test_a_job_that_is_resumed_after_its_time_and_still_waits_for_another_shows_no_time(
    clocked: tuple[RedisServer, Shim],
) -> None:
    server, _ = clocked
    async with queue_bench(server.url) as side:
        parent = await side.submit()
        child = await side.submit(depends_on=(parent,), run_at=in_an_hour())
        await side.control.pause(child)
        set_clock(clocked, 2 * HOUR_S)

        assert await side.control.resume(child) is JobState.SCHEDULED

        # `folded` holds the hash against the timeline.
        assert (await side.folded(child)).due_at is None


async def test_a_start_deadline_that_passes_during_a_pause_ends_the_job_once_it_is_resumed(
    clocked: tuple[RedisServer, Shim],
) -> None:
    server, _ = clocked
    async with queue_bench(server.url) as side:
        job_id = await side.submit(start_deadline_s=HOUR_S)
        await side.control.pause(job_id)
        set_clock(clocked, 2 * HOUR_S)
        assert (await side.schedule.promote()).expired == 0

        assert await side.control.resume(job_id) is JobState.QUEUED
        assert (await side.schedule.promote()).expired == 1

        assert (await side.folded(job_id)).state is JobState.FAILED

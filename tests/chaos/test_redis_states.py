"""Redis is away, frozen, loading, read-only or out of memory: who waits, what is said, how soon
work continues.

A real gateway and a real worker over one Redis of the test's own, seen through HTTP.
"""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen

import anyio
import httpx
import msgspec
import pytest
from shared_schemas.ids import JobId
from shared_schemas.job import JobState

from tests.support import outage
from tests.support.gateways import DEADLINE_S, Gateway, running_gateway
from tests.support.outage import (
    JobFollower,
    Usage,
    accepted,
    assert_refused,
    destroy_groups,
    healthy,
    is_done,
    is_output,
    submit,
    used_by,
)
from tests.support.redis_server import RedisServer
from tests.support.worker_process import worker_process
from tests.support.workers import bench

N_SLOTS = 8
WINDOW_S = 5.0
RECOVERY_S = 5.0
# A few percent of one core: reconnecting, renewing and looking at the queue.
MOST_CPU = 0.05


class System(msgspec.Struct, frozen=True):
    gateway: Gateway
    worker: Popen[bytes]
    gateway_log: Path
    worker_log: Path
    http: httpx.AsyncClient


@asynccontextmanager
async def running_system(redis_url: str, folder: Path, **settings: object) -> AsyncIterator[System]:
    log = folder / "worker.log"
    with (
        running_gateway(redis_url, folder, redis_timeout_s=1) as gateway,
        worker_process(redis_url, "obey", log=log, slots=N_SLOTS, log_format="json", **settings) as worker,
    ):
        async with gateway.client() as http:
            yield System(gateway, worker, folder / "gateway.log", log, http)


async def used_while_waiting(system: System) -> dict[str, Usage]:
    assert system.gateway.process is not None
    async with (
        used_by(system.gateway.process, system.gateway_log) as by_gateway,
        used_by(system.worker, system.worker_log) as by_worker,
    ):
        await anyio.sleep(WINDOW_S)
        return {"gateway": by_gateway(), "worker": by_worker()}


def assert_quiet(system: System, used: dict[str, Usage]) -> None:
    """Assert that neither process has crashed, looped or filled its log."""
    for log in (system.gateway_log, system.worker_log):
        healthy(log)
    for name, usage in used.items():
        assert usage.cpu < MOST_CPU, (name, usage)
        assert len(usage.lines) <= WINDOW_S, (name, usage)
    assert_each_once(used["worker"].lines)


def assert_each_once(lines: Sequence[str]) -> None:
    """What fails again and again is logged when it first fails."""
    times = Counter(json.loads(line)["event"] for line in lines)
    assert set(times.values()) <= {1}, lines


@pytest.mark.parametrize("state", outage.OUTAGES)
@pytest.mark.fault(
    "redis",
    "Redis killed, frozen, LOADING or READONLY for five seconds, then back",
    sees="503 with Retry-After; open streams stay open; everything works within 5 s",
)
async def test_all_wait_quietly_while_redis_is_away_and_continue_within_five_seconds_of_its_return(
    own_redis: RedisServer, tmp_path: Path, state: str
) -> None:
    async with running_system(own_redis.url, tmp_path, lease_s=15.0) as system, anyio.create_task_group() as following:
        http = system.http
        await outage.publish_model(own_redis.url)
        ticking, ending = JobFollower(await accepted(http, "tick")), JobFollower(await accepted(http, "speak"))
        for follower in (ticking, ending):
            following.start_soon(follower.follow, http)
            await follower.until(is_output)

        with outage.OUTAGES[state](own_redis):
            used = await used_while_waiting(system)
            assert_refused(await submit(http, "answer"))
            assert (await http.get("/healthz")).status_code == 200
            assert (await http.get("/readyz")).status_code == 503
            n_seen = len(ticking.seen)
        back_at = time.monotonic()

        # Claim and settle of a new job, settle of one that ended meanwhile, record of one that goes on.
        fresh = JobFollower(await accepted(http, "answer"))
        following.start_soon(fresh.follow, http)
        await fresh.until(is_done)
        await ending.until(is_done)
        await ticking.until(is_output, after=n_seen + 20)
        took_s = time.monotonic() - back_at
        following.cancel_scope.cancel()

        assert system.worker.poll() is None
        assert [int(frame.id) for frame in ticking.seen] == list(range(1, len(ticking.seen) + 1))
    assert took_s < RECOVERY_S
    assert_quiet(system, used)


@pytest.mark.fault(
    "redis",
    "Redis has no memory left for three leases (noeviction)",
    sees="503 with Retry-After for new jobs; no running job is lost or counts a crash; all end once there is memory",
)
async def test_without_memory_new_jobs_are_refused_and_running_ones_end_once_there_is_some(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    async with running_system(own_redis.url, tmp_path, lease_s=1.5) as system, bench(own_redis.url) as side:
        await outage.publish_model(own_redis.url)
        job_ids = [JobId(await accepted(system.http, "speak")) for _ in range(N_SLOTS + 2)]
        for job_id in job_ids[:N_SLOTS]:
            await side.until_state(job_id, JobState.RUNNING)

        await side.client.config_set("maxmemory", 1)
        async with used_by(system.worker, system.worker_log) as by_worker:
            refusal = await submit(system.http, "answer")
            assert_refused(refusal)
            assert "OOM" in refusal.json()["detail"]
            assert (await system.http.get(f"/jobs/{job_ids[0]}")).status_code == 200
            await anyio.sleep(WINDOW_S)
            used = by_worker()
        await side.client.config_set("maxmemory", 0)

        jobs = [await side.done(job_id) for job_id in job_ids]
        assert system.worker.poll() is None
    assert {(job.state, job.attempt, job.crashes) for job in jobs} == {(JobState.SUCCEEDED, 1, 0)}
    healthy(system.worker_log)
    healthy(system.gateway_log)
    warnings = [line for line in used.lines if '"warning"' in line]
    assert len(warnings) <= WINDOW_S, warnings
    assert_each_once(warnings)


@pytest.mark.fault(
    "redis",
    "a gateway and a worker are started before Redis",
    sees="503 and few log lines; everything works within 5 s",
)
async def test_a_gateway_and_a_worker_started_before_redis_wait_quietly_and_then_serve(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    own_redis.kill()
    async with running_system(own_redis.url, tmp_path, lease_s=15.0) as system:
        # It has logged that: from here on it waits.
        with anyio.fail_after(DEADLINE_S):
            while "redis_away" not in system.worker_log.read_text():  # noqa: ASYNC110 - nothing tells
                await anyio.sleep(0.01)
        used = await used_while_waiting(system)
        assert_refused(await submit(system.http, "answer"))
        own_redis.start()
        there_at = time.monotonic()
        await outage.publish_model(own_redis.url)
        follower = JobFollower(await accepted(system.http, "answer"))
        await follower.follow(system.http)
        took_s = time.monotonic() - there_at

    assert is_done(follower.seen[-1])
    assert took_s < RECOVERY_S
    assert_quiet(system, used)
    for log in (system.worker_log, system.gateway_log):
        [logged] = [row for row in map(json.loads, log.read_text().splitlines()) if row.get("event") == "redis_away"]
        assert logged["redis"] == own_redis.url


@pytest.mark.fault("redis", "all groups and consumers are destroyed again and again", sees="nothing; few log lines")
async def test_groups_that_vanish_again_and_again_make_no_hot_loop(redis_url: str, tmp_path: Path) -> None:
    async with running_system(redis_url, tmp_path, lease_s=15.0) as system, bench(redis_url) as side:
        await outage.publish_model(redis_url)
        await side.done(JobId(await accepted(system.http, "answer")))
        async with anyio.create_task_group() as group:

            async def keep_destroying() -> None:
                while True:
                    await destroy_groups(side.client)
                    await anyio.sleep(0.2)

            group.start_soon(keep_destroying)
            used = await used_while_waiting(system)
            group.cancel_scope.cancel()
        job = await side.done(JobId(await accepted(system.http, "answer")))

    assert job.attempt == 1
    assert_quiet(system, used)

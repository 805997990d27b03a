"""Redis is killed again and again while jobs are submitted: every accepted job is there afterwards,
and ends.

kill -9 ends the process but not the kernel, which keeps every byte that Redis had written. With
appendfsync always, that is everything that Redis answered. With everysec, Redis answers before it
writes while a sync of its file is in progress. Jobs that it accepted in those moments may be lost,
but no earlier ones.
"""

import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from shared_schemas.errors import BackendUnavailable
from shared_schemas.ids import JobId, new_job_id
from shared_schemas.job import JobState
from shared_schemas.specs import InferenceSpec
from shared_schemas.stream.submission import Submission

from tests.support import outage
from tests.support.gateways import driver, running_gateway
from tests.support.outage import assert_refused, submit
from tests.support.queue_bench import queue_bench, success
from tests.support.redis_server import TICK_S, WRITE_PUT_OFF_S, RedisServer, running_redis
from tests.support.worker_process import worker_process
from tests.support.workers import INFERENCE, Bench, bench

SUBMITTERS, KILLS, PER_KILL = 32, 3, 800


@pytest.fixture(params=["always", "everysec"])
def appendfsync(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def durable_redis(appendfsync: str) -> Iterator[RedisServer]:
    with (
        tempfile.TemporaryDirectory(prefix="hr-") as folder,
        running_redis(Path(folder), options=("--appendfsync", appendfsync)) as server,
    ):
        yield server


class Accepted:
    """The accepted jobs so far, in order, and a way to wait for the n-th."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.job_ids: list[JobId] = []
        self._at = list[float]()
        # The time of each kill of Redis, and the number of accepted jobs when it was back.
        self._kills = list[tuple[float, int]]()
        self._grown = anyio.Event()

    @property
    def is_enough(self) -> bool:
        return len(self.job_ids) >= self.total

    def add(self, job_id: str) -> None:
        self.job_ids.append(JobId(job_id))
        self._at.append(time.monotonic())
        self._grown.set()
        self._grown = anyio.Event()

    def killed(self, at: float) -> None:
        """Called when Redis is back: by then all its replies from before have been read."""
        self._kills.append((at, len(self.job_ids)))

    async def kept(self, side: Bench, appendfsync: str) -> list[JobId]:
        """The jobs that must exist: all, or with everysec all but the last before a kill."""
        lost = {job_id for job_id, state in (await side.jobs.states(self.job_ids)).items() if state is None}
        print(f"{len(lost)} of {len(self.job_ids)} accepted jobs are lost with appendfsync {appendfsync}")
        assert not lost or appendfsync == "everysec"
        begin, n_explained = 0, 0
        for killed_at, end in self._kills:
            gone = [n for n in range(begin, end) if self.job_ids[n] in lost]
            if gone:
                assert killed_at - self._at[gone[0]] < WRITE_PUT_OFF_S + TICK_S
                # Replies that Redis sends together reach the submitters in any order.
                assert end - gone[0] - len(gone) <= 2 * SUBMITTERS
            begin, n_explained = end, n_explained + len(gone)
        assert n_explained == len(lost)
        return [job_id for job_id in self.job_ids if job_id not in lost]

    async def has(self, n: int) -> None:
        with anyio.fail_after(120):
            while len(self.job_ids) < n:
                await self._grown.wait()


@asynccontextmanager
async def killing(server: RedisServer, accepted: Accepted) -> AsyncIterator[None]:
    """Kill and restart Redis each time another share of the jobs was accepted, while calls are in
    progress."""
    async with anyio.create_task_group() as group:

        async def kill() -> None:
            for n in range(1, KILLS + 1):
                await accepted.has(n * accepted.total // (KILLS + 1))
                await anyio.to_thread.run_sync(server.kill)
                killed_at = time.monotonic()
                await anyio.to_thread.run_sync(server.start)
                accepted.killed(killed_at)

        group.start_soon(kill)
        yield


async def all_succeeded(side: Bench, job_ids: list[JobId], *, deadline_s: float = 120) -> None:
    assert len(set(job_ids)) == len(job_ids)
    with anyio.fail_after(deadline_s):
        for job_id in job_ids:
            job = await side.done(job_id, deadline_s=deadline_s)
            assert (job.state, job.failures, job.crashes) == (JobState.SUCCEEDED, 0, 0)


@pytest.mark.fault(
    "redis",
    "kill -9 of Redis three times in a row while 32 submitters send about 1,000 jobs a second",
    sees=(
        "every accepted job is there and ends; with appendfsync everysec, those may be lost that "
        "were accepted just before a kill while the disk was busy"
    ),
)
async def test_every_job_accepted_while_redis_was_killed_again_and_again_is_there_and_runs(
    durable_redis: RedisServer, appendfsync: str
) -> None:
    accepted = Accepted((KILLS + 1) * PER_KILL)
    async with bench(durable_redis.url) as side:

        async def keep_submitting() -> None:
            while not accepted.is_enough:
                job_id = new_job_id(INFERENCE, now_ms=time.time_ns() // 1_000_000, entropy=os.urandom(10))
                submission = Submission(job_id=job_id, spec=InferenceSpec(model_id="m", input_data=1))
                try:
                    accepted.add((await side.submitter.submit(submission)).job_id)
                except BackendUnavailable:
                    # The job may exist or not, because nobody got an answer.
                    await anyio.sleep(0.02)

        began = time.monotonic()
        async with killing(durable_redis, accepted), anyio.create_task_group() as group:
            for _ in range(SUBMITTERS):
                group.start_soon(keep_submitting)
        print(f"{len(accepted.job_ids) / (time.monotonic() - began):.0f} accepted a second, kills included")

        with (
            worker_process(durable_redis.url, "answer", slots=64),
            worker_process(durable_redis.url, "answer", slots=64),
        ):
            await all_succeeded(side, await accepted.kept(side, appendfsync))


@pytest.mark.fault(
    "redis",
    "kill -9 of Redis three times in a row, with a busy gateway and a busy worker",
    sees="202, or 503 and a repeated request with the same Idempotency-Key: one job for each key, and each runs once",
)
async def test_every_202_of_a_gateway_whose_redis_is_killed_again_and_again_is_one_job_that_runs(
    durable_redis: RedisServer, appendfsync: str, tmp_path: Path
) -> None:
    url, accepted = durable_redis.url, Accepted(300)
    with running_gateway(url, tmp_path, redis_timeout_s=1) as gateway, worker_process(url, "answer", slots=16):
        await outage.publish_model(url)
        async with gateway.client() as http, bench(url) as side, driver(url) as drive:
            n_before = await drive.count_jobs()
            n_keys = 0

            async def keep_submitting() -> None:
                nonlocal n_keys
                while n_keys < accepted.total:
                    n_keys += 1
                    accepted.add(await accepted_once(http, f"key-{n_keys}"))

            began = time.monotonic()
            async with killing(durable_redis, accepted), anyio.create_task_group() as group:
                for _ in range(SUBMITTERS):
                    group.start_soon(keep_submitting)
            print(f"{len(accepted.job_ids) / (time.monotonic() - began):.0f} accepted a second, kills included")

            kept = await accepted.kept(side, appendfsync)
            await all_succeeded(side, kept)
            assert await drive.count_jobs() == n_before + len(kept)


async def accepted_once(http: httpx.AsyncClient, key: str) -> str:
    while True:
        reply = await submit(http, "answer", **{"Idempotency-Key": key})
        if reply.status_code == 202:
            return str(reply.json()["job_id"])
        assert_refused(reply)
        await anyio.sleep(0.05)


@pytest.mark.quick
@pytest.mark.fault("redis", "SCRIPT FLUSH before every call during a job", sees="nothing")
async def test_a_script_that_redis_has_forgotten_is_sent_again(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.client.script_flush()
        job_id = await side.submit()
        await side.client.script_flush()
        [claim] = await side.claim()
        leases = side.leases()
        await side.client.script_flush()
        renewals = leases.renew({job_id: claim.fence}, {})
        await side.client.script_flush()
        settled = await side.settle(claim, success(1))
        await side.client.script_flush()
        page = await side.jobs.list_jobs(INFERENCE)
        job = await side.folded(job_id)

    assert renewals[job_id].held
    assert settled
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)
    assert [listed.id for listed in page.jobs] == [job_id]


@pytest.mark.quick
@pytest.mark.fault(
    "redis", "SCRIPT FLUSH at random moments under load", sees="nothing: no call fails, each job runs once"
)
async def test_no_call_is_lost_when_scripts_are_forgotten_at_random_under_load(
    redis_url: str, rng: random.Random
) -> None:
    async with bench(redis_url) as side, anyio.create_task_group() as group:

        async def keep_forgetting() -> None:
            while True:
                await side.client.script_flush()
                await anyio.sleep(rng.uniform(0.0, 0.01))

        with worker_process(redis_url, "answer", slots=8), worker_process(redis_url, "answer", slots=8):
            group.start_soon(keep_forgetting)
            job_ids = [await side.submit() for _ in range(100)]
            jobs = [await side.done(job_id) for job_id in job_ids]
        group.cancel_scope.cancel()

    assert {(job.state, job.attempt, job.crashes, job.failures) for job in jobs} == {(JobState.SUCCEEDED, 1, 0, 0)}

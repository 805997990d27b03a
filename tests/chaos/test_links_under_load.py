"""Many jobs and callers over connections that are slow and cut, or too few: a full server, a full
pool."""

import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest
from shared_schemas.errors import BackendUnavailable
from shared_schemas.events import Emitted
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.outcome import Success
from shared_schemas.stream.connection import connect
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_settings import RedisSettings
from worker_runtime import Attempt

from tests.support.fault_proxy import Greeting, fault_proxy
from tests.support.gateways import TRAINING_BODY, running_gateway
from tests.support.network import Conditions
from tests.support.redis_server import RedisServer, running_redis
from tests.support.rest import left_over
from tests.support.seeds import draw_seed
from tests.support.workers import INFERENCE, Bench, ScriptedHandler, a_submission, bench, running_worker, success

LEASE_S = 1.5
PARTS = [f"{n} " for n in range(5)]


@pytest.mark.fault(
    "network",
    "every connection has a latency of 200 ± 150 ms each way, and one chunk in a hundred resets its connection",
    sees="all jobs end; each timeline is complete",
)
async def test_all_jobs_end_over_slow_connections_that_are_cut_now_and_then(redis_url: str) -> None:
    n_jobs = 60

    async def tell(attempt: Attempt) -> Success:
        for part in PARTS:
            await attempt.record(Emitted(chunk=part))
            await attempt.flush()
        return success(attempt.number)

    async with bench(redis_url) as side:
        with fault_proxy(redis_url, seed=draw_seed()) as proxy:
            proxy.impose(Conditions(delay_s=0.2, jitter_s=0.15, resets=0.01))
            handler = ScriptedHandler(tell)
            async with (
                bench(proxy.url) as far,
                running_worker(proxy.url, handler, slots=8, lease_s=10.0),
                running_worker(proxy.url, handler, slots=8, lease_s=10.0),
            ):
                ids = await at_once(n_jobs, lambda _: submit_until_answered(far))
                jobs = [await side.done(job_id, deadline_s=120) for job_id in ids]

        assert await left_over(side.client, INFERENCE) == {}
        listed = await side.jobs.list_jobs(INFERENCE, limit=2 * n_jobs)
        for job in jobs:
            emitted = [event for event in await side.events(job.id) if isinstance(event, Emitted)]
            assert [event.chunk for event in emitted if event.attempt == job.attempt] == PARTS
            assert bytes(job.result) == str(job.attempt).encode()

    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
    assert {job.failures for job in jobs} == {0}
    assert len(listed.jobs) == n_jobs


@contextmanager
def full(server: RedisServer) -> Iterator[None]:
    """Take every connection that the server has left."""
    taken: list[socket.socket] = []
    try:
        while True:
            connection = socket.socket(socket.AF_UNIX)
            taken.append(connection)
            connection.connect(str(server.socket))
            with suppress(OSError):
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            if connection.recv(100) != b"+PONG\r\n":
                break
        yield
    finally:
        for connection in taken:
            connection.close()


@pytest.mark.quick
@pytest.mark.fault(
    "network",
    "Redis has no connection left (maxclients)",
    sees="503 with Retry-After; running jobs continue; afterwards, all works as before",
)
async def test_a_full_server_costs_a_503_and_no_job(tmp_path: Path) -> None:
    may_end = anyio.Event()

    async def wait(attempt: Attempt) -> Success:
        await attempt.record(Emitted(chunk="."))
        await may_end.wait()
        return success(attempt.number)

    with (
        tempfile.TemporaryDirectory(prefix="hr-") as folder,
        running_redis(Path(folder), options=("--maxclients", "32")) as server,
        fault_proxy(server.url) as proxy,
        running_gateway(proxy.url, tmp_path) as gateway,
    ):
        async with (
            bench(server.url) as side,
            gateway.client() as http,
            running_worker(server.url, ScriptedHandler(wait), lease_s=LEASE_S),
        ):
            before = await side.submit()
            await side.until(before, lambda event: isinstance(event, Emitted))
            proxy.greet(Greeting.REFUSE)
            proxy.cut()
            # The event loop closes the connections that were cut, and `full` blocks the loop.
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            with full(server):
                proxy.greet(Greeting.SERVE)
                refused = await http.post("/jobs/training", json=TRAINING_BODY)
                not_ready = await http.get("/readyz")
                # The job survives two leases only if its heartbeat keeps its connection.
                await anyio.sleep(2 * LEASE_S)
                during = await side.submit()
                may_end.set()
            accepted = await http.post("/jobs/training", json=TRAINING_BODY)
            jobs = [await side.done(job_id) for job_id in (before, during)]

    assert (refused.status_code, refused.json()["code"]) == (503, "backend_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert (not_ready.status_code, accepted.status_code) == (503, 202)
    assert {(job.state, job.attempt, job.crashes) for job in jobs} == {(JobState.SUCCEEDED, 1, 0)}


@pytest.mark.quick
@pytest.mark.fault(
    "network",
    "all connections of a process are in use",
    sees="some callers wait, some get 503; afterwards, all works as before",
)
async def test_callers_beyond_the_pool_wait_or_get_an_error(redis_url: str) -> None:
    async with bench(redis_url) as side:
        job_id = await side.submit()
        with fault_proxy(redis_url) as proxy:
            proxy.impose(Conditions(delay_s=0.05))
            client = connect(RedisSettings(redis_url=proxy.url, redis_timeout_s=1.0, redis_connections=4))
            jobs = Jobs(Nodes(client))

            async def find(_: int) -> JobId | None:
                with suppress(BackendUnavailable):
                    return (await jobs.find(job_id)).id
                return None

            found = await at_once(300, find)
            assert (await jobs.find(job_id)).id == job_id
            await proxy.has_at_most(4)
            await client.aclose()

    assert set(found) == {job_id, None}


@pytest.mark.quick
@pytest.mark.fault(
    "network",
    "a worker runs more attempts than it has connections",
    sees="nothing: its reads and renewals have connections of their own",
)
async def test_a_worker_with_more_attempts_than_connections_charges_none(redis_url: str) -> None:
    async def tell(attempt: Attempt) -> Success:
        for part in PARTS:
            await attempt.record(Emitted(chunk=part))
            await attempt.flush()
        return success(attempt.number)

    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            proxy.impose(Conditions(delay_s=0.02))
            handler = ScriptedHandler(tell)
            async with running_worker(proxy.url, handler, slots=64, lease_s=3.0, redis_connections=4):
                ids = await at_once(64, lambda _: side.submit())
                jobs = [await side.done(job_id) for job_id in ids]

    assert {(job.state, job.attempt, job.crashes) for job in jobs} == {(JobState.SUCCEEDED, 1, 0)}


Outcome = TypeVar("Outcome")


async def at_once(n: int, call: Callable[[int], Awaitable[Outcome]]) -> list[Outcome]:
    outcomes: list[Outcome] = []

    async def keep(i: int) -> None:
        outcomes.append(await call(i))

    async with anyio.create_task_group() as group:
        for i in range(n):
            group.start_soon(keep, i)
    return outcomes


async def submit_until_answered(far: Bench) -> JobId:
    """Submit again after each 503, as a client does."""
    submission = a_submission()
    while True:
        with suppress(BackendUnavailable):
            return (await far.submitter.submit(submission)).job_id

"""Calls that are cancelled at any moment, as when a client hangs up.

The next call on the same connection gets its own reply.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import pytest
from shared_schemas.events import Emitted
from shared_schemas.job import JobState
from shared_schemas.specs import InferenceSpec
from shared_schemas.stream.connection import AsyncRedis, connect, connect_one
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.queue_queries import QueueQueries
from shared_schemas.stream.queues import Queues
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.submission import Submission, Submitter
from shared_schemas.stream.timeline import Timeline

from tests.support.fault_proxy import fault_proxy
from tests.support.network import Conditions
from tests.support.queue_bench import QueueBench, queue_bench
from tests.support.seeds import draw_seed
from tests.support.workers import INFERENCE, a_submission

JOBS, CALLS, CONNECTIONS = 20, 125, 16
# How to connect, how many connections that makes, and how many callers share them.
POOL, ONE = (connect, CONNECTIONS, 24), (connect_one, 1, 4)
LONGEST_S = 0.3

Call = Callable[[Submission], Awaitable[object]]


async def by_scope(call: Awaitable[object], after_s: float) -> object:
    """Cancel as anyio does: again at every await, until the call has ended."""
    with anyio.move_on_after(after_s):
        return await call
    return None


async def by_task(call: Awaitable[object], after_s: float) -> object:
    """Cancel as asyncio does: once."""
    try:
        return await asyncio.wait_for(call, after_s)
    except TimeoutError:
        return None


@pytest.mark.fault(
    "network",
    "thousands of Redis calls are cancelled at random moments, with 20 ms of latency",
    sees="every call gets its own reply; no connection is lost",
)
@pytest.mark.parametrize("connections", [POOL, ONE], ids=["pool", "one"])
@pytest.mark.parametrize("within", [by_scope, by_task])
async def test_a_cancelled_call_leaves_no_reply_for_the_next(
    redis_url: str,
    within: Callable[[Awaitable[object], float], Awaitable[object]],
    connections: tuple[Callable[..., AsyncRedis], int, int],
) -> None:
    connect_by, n_connections, n_callers = connections
    rng, seen = random.Random(draw_seed()), Counter[str]()
    async with queue_bench(redis_url) as side:
        jobs = [await a_job_that_says(side, f"nonce-{rng.getrandbits(64):x}") for _ in range(JOBS)]
        with fault_proxy(redis_url) as proxy:
            proxy.impose(Conditions(delay_s=0.01))
            client = connect_by(RedisSettings(redis_url=proxy.url, redis_connections=CONNECTIONS))
            calls = calls_of(client)
            if n_connections == 1:
                # A pipeline takes a connection from a pool.
                del calls["read"], calls["status"]

            async def call_at_random() -> None:
                for _ in range(CALLS):
                    job, name = rng.choice(jobs), rng.choice(sorted(calls))
                    answer = await within(calls[name](job), rng.uniform(0.0, LONGEST_S))
                    seen["cancelled" if answer is None else name] += 1
                    assert answer in (None, job.spec.input_data), name

            async with anyio.create_task_group() as group:
                for _ in range(n_callers):
                    group.start_soon(call_at_random)
            await proxy.has_at_most(n_connections)
            # Every connection is free again: so many readers can block at the same time.
            blocked = proxy.watch("BLPOP")
            async with anyio.create_task_group() as group:
                for _ in range(n_connections):
                    group.start_soon(client.blpop, "gate")
                await blocked.happened(n_connections)
                await side.client.lpush("gate", *range(n_connections))
            await client.aclose()

    assert set(seen) == {"cancelled", *calls}
    assert sum(seen.values()) == n_callers * CALLS


@pytest.mark.quick
@pytest.mark.fault(
    "network",
    "a task that calls Redis in a loop is cancelled once, at any point of a call",
    sees="it ends: no call swallows the cancellation",
)
@pytest.mark.parametrize("connect_by", [connect, connect_one])
async def test_no_call_swallows_a_cancellation(redis_url: str, connect_by: Callable[..., AsyncRedis]) -> None:
    client = connect_by(RedisSettings(redis_url=redis_url))

    async def call_for_ever() -> None:
        while True:
            await client.ping()

    ended = []
    for n_turns in range(200):
        task = asyncio.create_task(call_for_ever())
        for _ in range(n_turns):
            await anyio.lowlevel.checkpoint()
        task.cancel()
        await asyncio.wait([task], timeout=2)
        ended.append(task.cancelled())
        task.cancel()
    await client.aclose()

    assert ended == [True] * 200


def calls_of(client: AsyncRedis) -> dict[str, Call]:
    """Calls that each use another sort of command. Each returns the nonce of its job."""
    jobs, timeline, submitter, queue_queries = (
        Jobs(Nodes(client)),
        Timeline(Nodes(client)),
        Submitter(Nodes(client)),
        QueueQueries(Nodes(client), Queues(Nodes(client))),
    )

    async def find(job: Submission) -> object:
        return (await jobs.find(job.job_id)).spec.input_data  # type: ignore[union-attr]

    async def read(job: Submission) -> object:
        [entry] = await timeline.read(job.job_id, after=2)
        return json.loads(entry.data)["chunk"]

    async def submit(job: Submission) -> object:
        """By a script."""
        known = await submitter.submit(job)
        return job.spec.input_data if known.job_id == job.job_id else known  # type: ignore[union-attr]

    async def status(job: Submission) -> object:
        """By a pipeline."""
        counts = (await queue_queries.status(INFERENCE)).jobs
        return job.spec.input_data if counts[JobState.RUNNING] == JOBS else counts  # type: ignore[union-attr]

    return {call.__name__: call for call in (find, read, submit, status)}


async def a_job_that_says(side: QueueBench, nonce: str) -> Submission:
    """A running job that has the nonce in its spec and in its third event."""
    submission = a_submission(InferenceSpec(model_id="m", input_data=nonce))
    await side.submitter.submit(submission)
    [claim] = await side.claim()
    assert await side.record(claim, Emitted(chunk=nonce))
    return submission

"""A submission that streams the events of its jobs: it sends each event once, whatever happens to the connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from shared_schemas.ids import JobId

from tests.support.fault_proxy import fault_proxy
from tests.support.gateways import (
    DEADLINE_S,
    TRAINING,
    TRAINING_BODY,
    Frame,
    driver,
    frames,
    running_gateway,
    succeeded,
)
from tests.support.network import Conditions, Way, subscriptions
from tests.support.redis_server import RedisServer

STREAM = {"Accept": "text/event-stream"}


@asynccontextmanager
async def streaming(http: httpx.AsyncClient, body: Any) -> AsyncIterator[AsyncIterator[Frame]]:
    """-> the events of the jobs that are submitted"""
    async with http.stream("POST", "/jobs/training", json=body, headers=STREAM) as response:
        assert response.status_code == 200
        yield frames(response)


async def numbers_by_job(events: AsyncIterator[Frame]) -> dict[str, list[int]]:
    """The numbers of the events of each job, to the end of the stream of a list."""
    numbers: dict[str, list[int]] = {}
    async for frame in events:
        numbers.setdefault(frame.json["job_id"], []).append(frame.json["n"])
    return numbers


async def test_nothing_is_read_for_a_stream_of_the_jobs_that_were_submitted(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    with running_gateway(own_redis.url, tmp_path, keep_alive_s=3600) as gateway:
        async with gateway.client() as http, driver(own_redis.url) as drive:
            async with streaming(http, TRAINING_BODY) as events:
                first = await anext(events)
                await drive.finish((await drive.jobs.list_jobs(TRAINING)).jobs[0].id, succeeded(42))
                later = [(int(frame.id), frame.event) async for frame in events]
            async with streaming(http, [TRAINING_BODY] * 5) as events:
                # The submission is answered with its first events.
                jobs = [(await anext(events)).json["job_id"] for _ in range(5)]
                for job_id in jobs:
                    await drive.finish(JobId(job_id))
                numbers = await numbers_by_job(events)
            stats = await drive.client.info("commandstats")

    assert (first.id, first.event) == ("1", "state")
    assert later == [(2, "state"), (3, "done")]
    assert numbers == {job_id: [2, 3] for job_id in jobs}
    assert "cmdstat_xrange" not in stats


@pytest.mark.quick
@pytest.mark.fault(
    "gateways",
    "the subscription is cut while a submission streams the events of its list, before it is confirmed and after",
    sees="nothing: the missed events are read and sent",
)
@pytest.mark.parametrize("is_confirmed", [False, True])
async def test_a_lost_subscription_leaves_no_gap_in_the_stream_of_a_submission(
    own_redis: RedisServer, tmp_path: Path, is_confirmed: bool
) -> None:
    with (
        fault_proxy(own_redis.url) as proxy,
        running_gateway(proxy.url, tmp_path, keep_alive_s=3600, redis_timeout_s=30) as gateway,
    ):
        async with gateway.client() as http, driver(own_redis.url) as drive:
            if not is_confirmed:
                proxy.impose(Conditions(held=frozenset({Way.BACK})), on=subscriptions)
            async with streaming(http, [TRAINING_BODY] * 3) as events:
                jobs = [(await anext(events)).json["job_id"] for _ in range(3)]
                claims = [await drive.begin(JobId(job_id)) for job_id in jobs]
                if is_confirmed:
                    assert {(await anext(events)).json["n"] for _ in jobs} == {2}
                proxy.cut(on=subscriptions)
                proxy.heal()
                for claim in claims:
                    await drive.settle(claim, succeeded())
                numbers = await numbers_by_job(events)

    assert numbers == {job_id: [3] if is_confirmed else [2, 3] for job_id in jobs}


async def test_a_reader_that_left_before_its_stream_began_leaves_no_channel_behind(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    with running_gateway(own_redis.url, tmp_path) as gateway:
        async with gateway.client() as http, driver(own_redis.url) as drive:
            for patience_s in (0.001, 0.002, 0.004, 0.008):
                for _ in range(10):
                    with suppress(httpx.TimeoutException):
                        body = [TRAINING_BODY] * 5
                        await http.post("/jobs/training", json=body, headers=STREAM, timeout=patience_s)
            with anyio.fail_after(DEADLINE_S):
                while await drive.client.pubsub_channels("*:job:*"):  # noqa: ASYNC110 - nothing announces it
                    await anyio.sleep(0.02)

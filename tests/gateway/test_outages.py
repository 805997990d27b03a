"""Redis or the gateway goes away under open streams: requests get 503, and streams go on or end as they should."""

import re
from pathlib import Path

import anyio
import httpx
import pytest
from shared_schemas.events import Logged
from shared_schemas.ids import JobId

from tests.support.gateways import (
    TRAINING_BODY,
    Driver,
    Gateway,
    cut_short,
    driver,
    frames,
    running_gateway,
    succeeded,
    until_cut,
)
from tests.support.job_reader import Reader, submitted
from tests.support.redis_server import RedisServer


@pytest.mark.quick
@pytest.mark.fault(
    "gateways",
    "kill -9 of Redis under open streams",
    sees="requests get 503 and Retry-After; open streams continue without a gap",
)
async def test_when_redis_dies_requests_get_503_and_open_streams_go_on(own_redis: RedisServer, tmp_path: Path) -> None:
    with running_gateway(own_redis.url, tmp_path, keep_alive_s=3600, redis_timeout_s=1) as gateway:
        async with gateway.client() as http, driver(own_redis.url) as drive:
            job_id = await submitted(http)
            readers = [Reader(job_id) for _ in range(20)]
            claim = await drive.begin(job_id)
            async with anyio.create_task_group() as group:
                for reader in readers:
                    group.start_soon(reader.follow, http)
                for reader in readers:
                    await reader.has(2)
                for round_ in range(2):
                    own_redis.kill()
                    refused = [
                        await http.get(f"/jobs/{job_id}"),
                        await http.get("/jobs"),
                        await http.post("/jobs/training", json=TRAINING_BODY),
                        await http.get(f"/jobs/{job_id}/events"),
                        await http.get("/readyz"),
                    ]
                    resuming = await cut_short(http, f"/jobs/{job_id}/events", {"Last-Event-ID": "2"})
                    alive = await http.get("/healthz")
                    own_redis.start()
                    await drive.record(claim, Logged(line="a"), Logged(line="b"), first=round_ * 2)
                    for reader in readers:
                        await reader.has(4 + round_ * 2)
                await drive.settle(claim, succeeded(), first=4)
            ready = await http.get("/readyz")

    assert [reply.status_code for reply in refused] == [503] * 5
    assert {reply.headers["retry-after"] for reply in refused} == {"2"}
    assert {reply.json()["code"] for reply in refused[:4]} == {"backend_unavailable"}
    # An EventSource would take a 503 as final.
    assert resuming == (200, b"retry: 2000\n\n")
    assert (alive.status_code, ready.status_code) == (200, 200)
    assert [reader.numbers for reader in readers] == [list(range(1, 8))] * 20
    assert [reader.n_connections for reader in readers] == [1] * 20


@pytest.mark.quick
@pytest.mark.fault(
    "gateways",
    "a gateway is started while Redis is away",
    sees="`/readyz` is 503; the gateway serves once Redis is there",
)
async def test_a_gateway_starts_without_redis_and_serves_once_it_is_there(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    own_redis.kill()
    with running_gateway(own_redis.url, tmp_path, redis_timeout_s=1) as gateway:
        async with gateway.client() as http:
            before = await http.get("/readyz")
            own_redis.start()
            job_id = await submitted(http)

            async with http.stream("GET", f"/jobs/{job_id}/events") as response:
                first = await anext(frames(response))

    assert before.status_code == 503
    assert first.event == "state"


@pytest.mark.quick
@pytest.mark.fault(
    "gateways", "the gateway's subscription is cut ten times", sees="nothing: missed events are read and sent"
)
async def test_a_lost_subscription_is_made_up_for(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    reader = Reader(job_id)
    claim = await drive.begin(job_id)

    async with anyio.create_task_group() as group:
        group.start_soon(reader.follow, http)
        await reader.has(2)
        for i in range(10):
            await drive.client.client_kill_filter(_type="pubsub")
            await drive.record(claim, Logged(line="x"), first=i)
        await reader.has(12)
        await drive.settle(claim, succeeded(), first=10)

    assert reader.numbers == list(range(1, 14))
    assert reader.n_connections == 1


@pytest.mark.quick
@pytest.mark.fault(
    "gateways", "the subscription is cut while readers come and go", sees="nothing: every reader gets its notifications"
)
async def test_no_reader_misses_events_while_others_come_and_go_and_the_subscription_is_lost(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    jobs = [await submitted(http) for _ in range(3)]
    claims = [await drive.begin(job_id) for job_id in jobs]
    readers = [Reader(job_id) for job_id in jobs]

    async def come_and_go(job_id: JobId) -> None:
        for _ in range(25):
            async with http.stream("GET", f"/jobs/{job_id}/events") as response:
                if response.status_code == 200:
                    await anext(response.aiter_bytes())

    async with anyio.create_task_group() as group:
        for reader in readers:
            group.start_soon(reader.follow, http)
        async with anyio.create_task_group() as visitors:
            for job_id in jobs * 4:
                visitors.start_soon(come_and_go, job_id)
            for i in range(15):
                await drive.client.client_kill_filter(_type="pubsub")
                for claim in claims:
                    await drive.record(claim, Logged(line="x"), first=i)
        for claim, reader in zip(claims, readers, strict=True):
            await drive.record(claim, Logged(line="x"), first=15)
            await reader.has(18)
            await drive.settle(claim, succeeded(), first=16)

    assert [reader.numbers for reader in readers] == [list(range(1, 20))] * 3


@pytest.mark.quick
@pytest.mark.fault(
    "gateways",
    "SIGTERM of a gateway with open streams",
    sees="every stream is cut, so that its reader reconnects or reports an error; the process ends in time",
)
@pytest.mark.parametrize("is_bare", [False, True])
async def test_a_gateway_that_gets_sigterm_ends_its_streams_and_exits(
    redis_url: str, tmp_path: Path, is_bare: bool
) -> None:
    gateway = Gateway(redis_url, tmp_path / "gateway.log", is_bare=is_bare)
    gateway.start()
    async with gateway.client() as http:
        job_id = await submitted(http)
        ndjson = {"Accept": "application/x-ndjson"}
        async with (
            http.stream("GET", f"/jobs/{job_id}/events") as one,
            http.stream("GET", "/events?after=0") as all_,
            http.stream("GET", f"/events?job={job_id}", headers=ndjson) as many,
        ):
            streams = [response.aiter_lines() for response in (one, all_, many)]
            for stream in streams:
                while '"event":"state"' not in await anext(stream):
                    pass
            gateway.terminate()
            with anyio.fail_after(5):
                # Another server that runs the application ends them cleanly. httpx raises if a stream is cut.
                rest = [[text async for text in until_cut(stream, is_cut=not is_bare) if text] for stream in streams]
            status = await anyio.to_thread.run_sync(lambda: gateway.stop(within_s=5))

    assert rest == [[], [], []]
    assert status in (0, -15)
    assert not re.search("Traceback|error", (tmp_path / "gateway.log").read_text())

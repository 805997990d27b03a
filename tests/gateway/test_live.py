"""Open event streams under load and faults: nothing is missing, nothing comes twice, nothing is left behind."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import httpx
import psutil
import pytest
from shared_schemas.events import Logged
from shared_schemas.ids import JobId
from shared_schemas.stream import keys

from tests.support.gateways import (
    DEADLINE_S,
    Driver,
    Gateway,
    driver,
    running_gateway,
    succeeded,
)
from tests.support.job_reader import Reader, submitted
from tests.support.redis_server import RedisServer
from tests.support.stored import make_long, patch

KEEP_ALIVE_S, SEND_TIMEOUT_S = 0.3, 0.5


@pytest.fixture(scope="module")
def quick(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose patience is short."""
    folder = tmp_path_factory.mktemp("gateway")
    settings = {"keep_alive_s": KEEP_ALIVE_S, "send_timeout_s": SEND_TIMEOUT_S}
    with running_gateway(shared_redis.url, folder, **settings) as gateway:
        yield gateway


@pytest.fixture
async def quick_http(quick: Gateway, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with quick.client() as client:
        yield client


async def record(drive: Driver, job_id: JobId, n_events: int, *, at_once: int = 1) -> None:
    """Run a job with n_events events before its end: two states and log lines, in pieces."""
    claim = await drive.begin(job_id)
    first, wanted = 0, n_events - 2
    while first < wanted:
        n = min(at_once, wanted - first)
        await drive.record(claim, *(Logged(line=f"{first + i}") for i in range(n)), first=first)
        first += n
    await drive.settle(claim, succeeded(), first=first)


async def test_readers_that_come_while_events_are_recorded_get_each_once(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    job_id = await submitted(http)
    readers = [Reader(job_id) for _ in range(40)]

    async with anyio.create_task_group() as group:
        group.start_soon(record, drive, job_id, 1500)
        for i, reader in enumerate(readers):
            group.start_soon(reader.follow, http)
            await readers[0].has(i * 30 + 1)

    for reader in readers:
        assert reader.numbers == list(range(1, 1502))
        assert reader.n_connections == 1


async def test_the_only_event_after_a_reader_came_reaches_it_however_close_the_two_are(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    jobs = [await submitted(http) for _ in range(200)]
    readers = [Reader(job_id) for job_id in jobs]

    async with anyio.create_task_group() as group:
        for job_id, reader in zip(jobs, readers, strict=True):
            group.start_soon(reader.follow, http)
            group.start_soon(drive.control.cancel, job_id)

    assert [reader.numbers for reader in readers] == [[1, 2]] * 200


@pytest.mark.quick
@pytest.mark.fault(
    "readers", "the notification of an event is lost", sees="the event arrives with the next one, in order"
)
async def test_an_event_whose_notification_was_lost_is_read_at_the_next_notification(
    http: httpx.AsyncClient, drive: Driver
) -> None:
    job_id = await submitted(http)
    claim = await drive.begin(job_id)
    reader = Reader(job_id)

    async with anyio.create_task_group() as group:
        group.start_soon(reader.follow, http)
        await reader.has(2)
        data = '{"n":3,"at":1,"attempt":1,"event":"log","line":"unnotified"}'
        await make_long(drive.client, job_id)
        await drive.client.xadd(keys.events(job_id), {"event": "log", "data": data}, id="3-0")
        await patch(drive.client, job_id, n=3, recorded=1)
        await drive.record(claim, Logged(line="notified"), first=1)
        await reader.has(4)
        await drive.settle(claim, succeeded(), first=2)

    assert reader.numbers == [1, 2, 3, 4, 5]


async def test_bursts_larger_than_a_buffer_are_read_from_the_timeline(http: httpx.AsyncClient, drive: Driver) -> None:
    job_id = await submitted(http)
    readers = [Reader(job_id) for _ in range(5)]

    async with anyio.create_task_group() as group:
        for reader in readers:
            group.start_soon(reader.follow, http)
        await readers[0].has(1)
        group.start_soon(lambda: record(drive, job_id, 5000, at_once=700))

    assert [reader.numbers for reader in readers] == [list(range(1, 5002))] * 5


@pytest.mark.quick
@pytest.mark.fault(
    "readers", "300 readers of a job on one gateway", sees="one subscription and one bounded pool to Redis"
)
async def test_three_hundred_readers_of_a_job_share_one_subscription(own_redis: RedisServer, tmp_path: Path) -> None:
    with running_gateway(own_redis.url, tmp_path, keep_alive_s=3600, redis_connections=8) as gateway:
        async with gateway.client() as http, driver(own_redis.url) as drive:
            job_id = await submitted(http)
            claim = await drive.begin(job_id)
            readers = [Reader(job_id) for _ in range(300)]

            async def connections() -> tuple[int, int, list[bytes]]:
                clients = await drive.client.client_list()
                subscribed = sum(int(client["sub"]) > 0 for client in clients)
                return len(clients), subscribed, await drive.client.pubsub_channels("*:job:*")

            async with anyio.create_task_group() as group:
                for n in (50, 300):
                    for reader in readers[n - 250 if n > 50 else 0 : n]:
                        group.start_soon(reader.follow, http)
                    for reader in readers[:n]:
                        await reader.has(2)
                    total, subscribed, channels = await connections()
                    assert (subscribed, channels) == (1, [keys.job_channel(job_id).encode()])
                    # The gateway's pool, its subscription, those for submissions and pins, and two of this test.
                    assert total <= 8 + 1 + 2 + 2
                await drive.record(claim, *(Logged(line="x") for _ in range(20)))
                await drive.settle(claim, succeeded(), first=20)
            await until_no_subscriptions(drive)

            assert (await connections())[:2] == (total, 1)
    assert [reader.numbers for reader in readers] == [list(range(1, 24))] * 300
    assert [reader.n_connections for reader in readers] == [1] * 300


async def test_a_silent_stream_is_kept_alive(quick_http: httpx.AsyncClient) -> None:
    job_id = await submitted(quick_http)

    async with quick_http.stream("GET", f"/jobs/{job_id}/events") as response:
        text = b""
        with anyio.fail_after(KEEP_ALIVE_S * 20):
            async for chunk in response.aiter_bytes():
                text += chunk
                if text.count(b": keep-alive\n\n") == 3:
                    break

    assert text.count(b"data: ") == 1


async def exchanged(gateway: Gateway, drive: Driver, job_id: JobId, version: str, *headers: str) -> tuple[bytes, bool]:
    """A stream of a job that ends while it is open, and a request sent behind it on its connection. -> all that is
    answered, up to the end of the second answer or of the connection; whether that was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    claim = await drive.begin(job_id)
    for path in (f"/jobs/{job_id}/events", "/no-such-path"):
        writer.write("\r\n".join([f"GET {path} HTTP/{version}", "Host: localhost", *headers, "", ""]).encode())
    with anyio.fail_after(DEADLINE_S):
        answered = await reader.readuntil(b'"state":"running"')
        await drive.settle(claim, succeeded())
        while b"not_found" not in answered and (more := await reader.read(1 << 16)):
            answered += more
    writer.close()
    return answered, not more


async def test_a_connection_goes_on_after_its_stream_has_ended(
    quick_http: httpx.AsyncClient, drive: Driver, quick: Gateway
) -> None:
    answered, is_closed = await exchanged(quick, drive, await submitted(quick_http), "1.1")

    stream, _, second = answered.partition(b"\r\n0\r\n\r\n")
    assert stream.rstrip().split(b"event: ")[-1].startswith(b"done")
    assert second.startswith(b"HTTP/1.1 404")
    assert not is_closed


@pytest.mark.parametrize(("version", "headers"), [("1.1", ["Connection: close"]), ("1.0", [])])
async def test_a_connection_that_is_not_to_be_kept_is_closed_after_its_stream(
    quick_http: httpx.AsyncClient, drive: Driver, quick: Gateway, version: str, headers: list[str]
) -> None:
    answered, is_closed = await exchanged(quick, drive, await submitted(quick_http), version, *headers)

    # HTTP/1.0 has no chunks: there the end of the connection is that of the stream.
    assert answered.endswith(b"\r\n0\r\n\r\n") == (version == "1.1")
    assert answered.count(b"event: done") == 1
    assert is_closed


@pytest.mark.quick
@pytest.mark.fault(
    "readers", "a reader never reads", sees="it is cut off after the send timeout; other readers are not delayed"
)
async def test_a_reader_that_takes_nothing_is_cut_off_and_the_others_are_not_held_up(
    quick_http: httpx.AsyncClient, drive: Driver, quick: Gateway
) -> None:
    job_id = await submitted(quick_http)
    reader = Reader(job_id)
    claim = await drive.begin(job_id)
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", quick.port))
    stalled.sendall(f"GET /jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    async with anyio.create_task_group() as group:
        group.start_soon(reader.follow, quick_http)
        for i in range(100):
            await drive.record(claim, Logged(line="x" * 200_000), first=i)
        await reader.has(102)
        await until_closed(quick, stalled.getsockname()[1])
        await drive.settle(claim, succeeded(), first=100)

    stalled.close()
    assert reader.numbers == list(range(1, 104))
    assert [line["send_timeout_s"] for line in quick.log() if line["event"] == "slow_reader_dropped"] == [
        SEND_TIMEOUT_S
    ]
    assert [line for line in quick.log() if line["level"] == "error"] == []


@pytest.mark.quick
@pytest.mark.fault(
    "readers",
    "something that no worker sends is published on a job's channel",
    sees="the streams of that job are cut and resume; others stay open",
)
@pytest.mark.parametrize("nonsense", [b"", b"no number", b"\xff\x00", b"3 state\n4"])
async def test_a_notification_that_cannot_be_read_cuts_the_streams_of_its_job_and_no_other(
    redis_url: str, drive: Driver, tmp_path: Path, nonsense: bytes
) -> None:
    with running_gateway(redis_url, tmp_path) as gateway:
        async with gateway.client() as http, anyio.create_task_group() as group:
            struck, other = [await submitted(http) for _ in range(2)]
            readers = [Reader(struck), Reader(struck), Reader(other)]
            for reader in readers:
                group.start_soon(reader.follow, http)
                await reader.has(1)
            # The second event comes by notification: the stream is live, and not reading what is stored.
            claims = {job_id: await drive.begin(job_id) for job_id in (struck, other)}
            for reader in readers:
                await reader.has(2)

            await drive.client.publish(keys.job_channel(struck), nonsense)
            for claim in claims.values():
                await drive.record(claim, Logged(line="goes on"))
            for reader in readers:
                await reader.has(3)
            for claim in claims.values():
                await drive.settle(claim, succeeded(), first=1)

    assert [reader.numbers for reader in readers] == [[1, 2, 3, 4]] * 3
    assert [reader.n_connections for reader in readers] == [2, 2, 1]


@pytest.mark.quick
@pytest.mark.fault("readers", "readers go away", sees="nothing: their subscriptions end")
async def test_a_reader_that_goes_away_is_forgotten(http: httpx.AsyncClient, drive: Driver, gateway: Gateway) -> None:
    job_id = await submitted(http)
    for _ in range(20):
        async with http.stream("GET", f"/jobs/{job_id}/events") as response:
            await anext(response.aiter_bytes())

    await until_no_subscriptions(drive)
    assert [line for line in gateway.log() if line["level"] == "error"] == []


async def until_no_subscriptions(drive: Driver) -> None:
    """Until no gateway subscribes to a job."""
    with anyio.fail_after(DEADLINE_S):
        while await drive.client.pubsub_channels("*:job:*"):  # noqa: ASYNC110 - nothing announces it
            await anyio.sleep(0.02)


async def until_closed(gateway: Gateway, port: int) -> None:
    """Until the gateway has no connection to the local port."""
    process = psutil.Process(gateway.pid)
    with anyio.fail_after(DEADLINE_S):
        while port in {each.raddr.port for each in process.net_connections("tcp") if each.raddr}:  # noqa: ASYNC110 - nor this
            await anyio.sleep(0.02)

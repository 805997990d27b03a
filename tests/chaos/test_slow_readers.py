"""Readers that read nothing, or almost nothing: they are cut off, cost others nothing and leave
nothing behind."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random

import anyio
import pytest

from tests.support.counted import CountedGateway, Holdings, counted_gateway
from tests.support.followed_jobs import FollowedJobs, stream_of
from tests.support.gateways import driver
from tests.support.sse_reader import SseReader, request

POOL = 8
# Half of what the kernel buffers of a response for a reader on loopback that never reads.
CERTAINLY_FITS = 1_000_000


@contextmanager
def stalled(gateway: CountedGateway, asked: bytes, n: int = 1) -> Iterator[list[socket.socket]]:
    """Connections that send a request and never read the response."""
    connections = [socket.socket() for _ in range(n)]
    try:
        for connection in connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            connection.connect(("127.0.0.1", gateway.port))
            connection.sendall(asked)
        yield connections
    finally:
        for connection in connections:
            connection.close()


@asynccontextmanager
async def one_job(redis_url: str, *, n_events: int = 0, n_bytes: int = 0) -> AsyncIterator[FollowedJobs]:
    """A running job that has recorded n_events of n_bytes each."""
    async with driver(redis_url) as drive:
        jobs = FollowedJobs(drive, Random(0))
        await jobs.begin(1)
        for _ in range(n_events // 50):
            await jobs.record(jobs.ids[0], *["x" * n_bytes] * 50)
        yield jobs


async def until(gateway: CountedGateway, is_met: Callable[[Holdings], bool]) -> list[Holdings]:
    """Wait until is_met. -> what the gateway held meanwhile."""
    held = [await gateway.holds()]
    with anyio.fail_after(150):
        while not is_met(held[-1]):
            await anyio.sleep(0.05)
            held.append(await gateway.holds())
    return held


def n_dropped(gateway: CountedGateway) -> int:
    return sum(line["event"] == "slow_reader_dropped" for line in gateway.log())


def errors(gateway: CountedGateway) -> list[object]:
    return [line for line in gateway.log() if line["level"] == "error"]


async def sip(connection: socket.socket) -> None:
    """Read one byte per second, until the connection is cut."""
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        while await loop.sock_recv(connection, 1):  # noqa: ASYNC110 - so slow a reader
            await anyio.sleep(1)
    except OSError:
        pass


@pytest.mark.timeout(600)
@pytest.mark.fault(
    "readers",
    "100 readers never read, and 5 read one byte per second, of 10 MB each",
    sees="they are cut off after the send timeout; other readers get each event at once; memory does not grow",
)
async def test_readers_that_take_nothing_cost_the_others_nothing(redis_url: str, tmp_path: Path) -> None:
    settings = {"send_timeout_s": 15, "keep_alive_s": 1, "redis_connections": POOL}
    with counted_gateway(redis_url, tmp_path, **settings) as gateway:
        async with one_job(redis_url, n_events=500, n_bytes=20_000) as jobs:
            [job_id] = jobs.ids
            before = await gateway.holds()
            reader = SseReader(stream_of(job_id), lambda: [gateway.port])
            async with anyio.create_task_group() as group:
                group.start_soon(reader.follow)
                await reader.has(502)
                with stalled(gateway, request(stream_of(job_id)), 105) as connections:
                    await until(gateway, lambda holds: holds.subscribers == 106)
                    for connection in connections[100:]:
                        group.start_soon(sip, connection)
                    await jobs.record(job_id, "live")
                    await reader.has(503)
                    dropped_by_then = n_dropped(gateway)
                    held = await until(gateway, lambda holds: holds.subscribers == 1)
                await jobs.end()
            stored = await jobs.as_stored(job_id)
        await gateway.until_it_holds(before.with_pool(POOL))

    assert (dropped_by_then, n_dropped(gateway)) == (0, 105)
    # The gateway keeps one page for each reader, although 1000 MB were not read.
    assert max(holds.rss_mb for holds in held) < before.rss_mb + 100
    assert (reader.events, reader.n_connections) == (stored, 1)
    assert errors(gateway) == []


@pytest.mark.quick
@pytest.mark.fault(
    "readers",
    "readers never read the rest of a complete response: a replay, a JSON page, a response that closes the connection",
    sees="they are cut off after the send timeout",
)
async def test_no_connection_is_kept_for_the_rest_of_a_complete_response(redis_url: str, tmp_path: Path) -> None:
    with counted_gateway(redis_url, tmp_path, send_timeout_s=0.5, redis_connections=POOL) as gateway:
        async with one_job(redis_url, n_events=200, n_bytes=50_000) as jobs:
            path = stream_of(jobs.ids[0])
            await jobs.end()
        before = await gateway.holds()
        asked = [
            request(path),
            request(path, accept="application/x-ndjson"),
            request(path, accept="application/json"),
            request(path, accept="application/json", close=True),
        ]
        for text in asked:
            with stalled(gateway, text):
                await until(gateway, lambda holds: holds.connections == before.connections + 1)
                await gateway.until_it_holds(before.with_pool(POOL))

    assert n_dropped(gateway) == len(asked)
    assert errors(gateway) == []


async def test_a_stream_sends_nothing_after_its_end(redis_url: str, tmp_path: Path) -> None:
    # The gateway sends comments without a pause, so that one comes between the last frame and the close.
    async with one_job(redis_url, n_events=50, n_bytes=10) as jobs:
        with counted_gateway(redis_url, tmp_path, keep_alive_s=0.0001, redis_connections=POOL) as gateway:
            before = await gateway.holds()
            await jobs.end()
            for _ in range(300):
                await SseReader(stream_of(jobs.ids[0]), lambda: [gateway.port]).follow()
            await gateway.until_it_holds(before.with_pool(POOL))

    assert errors(gateway) == []


@pytest.mark.fault(
    "readers",
    "a reader stops reading before the job falls silent",
    sees="it is cut off when it does not read a keep-alive comment",
)
async def test_a_reader_that_does_not_take_a_keep_alive_is_cut_off(redis_url: str, tmp_path: Path) -> None:
    # Comments are so frequent that they alone fill the gateway's own buffer.
    settings = {"send_timeout_s": 0.5, "keep_alive_s": 0.002, "redis_connections": POOL}
    with counted_gateway(redis_url, tmp_path, **settings) as gateway:
        async with one_job(redis_url) as jobs:
            [job_id] = jobs.ids
            before = await gateway.holds()
            reader = SseReader(stream_of(job_id), lambda: [gateway.port])
            async with anyio.create_task_group() as group:
                group.start_soon(reader.follow)
                await reader.has(2)
                with stalled(gateway, request(stream_of(job_id))) as [connection]:
                    await until(gateway, lambda holds: holds.subscribers == 2)
                    await jobs.record(job_id, *["x" * 10_000] * (CERTAINLY_FITS // 10_000))
                    await until_the_kernel_is_full(gateway, connection, jobs, reader)
                    await until(gateway, lambda holds: holds.subscribers == 1)
                await jobs.end()
        await gateway.until_it_holds(before.with_pool(POOL))

    assert n_dropped(gateway) == 1
    assert reader.n_connections == 1
    assert errors(gateway) == []


async def until_the_kernel_is_full(
    gateway: CountedGateway, connection: socket.socket, jobs: FollowedJobs, reader: SseReader
) -> None:
    """Record events until three in a row have stayed in the gateway's own buffer."""
    [job_id] = jobs.ids
    taken = [-3, -2, -1]
    while len(set(taken[-3:])) > 1:
        await jobs.record(job_id, "x" * 10_000)
        await reader.has(jobs.n_events(job_id))
        taken.append(unsent_bytes(gateway.port, connection.getsockname()[1]))


def unsent_bytes(port: int, peer: int) -> int:
    """Bytes written on `port` for the peer that the kernel still holds, see proc_net_tcp(5)."""
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = row.split()
        if (int(local.split(":")[1], 16), int(remote.split(":")[1], 16)) == (port, peer):
            return int(queues.split(":")[0], 16)
    raise AssertionError("there is no such connection")

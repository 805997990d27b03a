"""Readers that take nothing, or next to nothing: they are cut off, cost others nothing and leave nothing behind."""

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
# Half of what the kernel holds of an answer for a reader on loopback that takes nothing.
CERTAINLY_FITS = 1_000_000


@contextmanager
def stalled(gateway: CountedGateway, asked: bytes, n: int = 1) -> Iterator[list[socket.socket]]:
    """Readers that ask and then never read."""
    lines = [socket.socket() for _ in range(n)]
    try:
        for line in lines:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            line.connect(("127.0.0.1", gateway.port))
            line.sendall(asked)
        yield lines
    finally:
        for line in lines:
            line.close()


@asynccontextmanager
async def one_job(redis_url: str, *, n_events: int = 0, n_bytes: int = 0) -> AsyncIterator[FollowedJobs]:
    """It runs, and has recorded so many events of such a size."""
    async with driver(redis_url) as drive:
        jobs = FollowedJobs(drive, Random(0))
        await jobs.begin(1)
        for _ in range(n_events // 50):
            await jobs.record(jobs.ids[0], *["x" * n_bytes] * 50)
        yield jobs


async def until(gateway: CountedGateway, is_met: Callable[[Holdings], bool]) -> list[Holdings]:
    """-> what it held on the way."""
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


async def sip(line: socket.socket) -> None:
    """A byte a second, until the line is cut."""
    line.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        while await loop.sock_recv(line, 1):  # noqa: ASYNC110 - so slow a reader
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
                with stalled(gateway, request(stream_of(job_id)), 105) as lines:
                    await until(gateway, lambda holds: holds.subscribers == 106)
                    for line in lines[100:]:
                        group.start_soon(sip, line)
                    await jobs.record(job_id, "live")
                    await reader.has(503)
                    dropped_by_then = n_dropped(gateway)
                    held = await until(gateway, lambda holds: holds.subscribers == 1)
                await jobs.end()
            stored = await jobs.as_stored(job_id)
        await gateway.until_it_holds(before.with_pool(POOL))

    assert (dropped_by_then, n_dropped(gateway)) == (0, 105)
    # A page for each, where 1000 MB were not taken.
    assert max(holds.rss_mb for holds in held) < before.rss_mb + 100
    assert (reader.events, reader.lines) == (stored, 1)
    assert errors(gateway) == []


@pytest.mark.quick
@pytest.mark.fault(
    "readers",
    "readers never read the rest of a complete response: a replay, a JSON page, a response that closes the connection",
    sees="they are cut off after the send timeout",
)
async def test_no_line_is_kept_for_the_rest_of_a_complete_answer(redis_url: str, tmp_path: Path) -> None:
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
                await until(gateway, lambda holds: holds.lines == before.lines + 1)
                await gateway.until_it_holds(before.with_pool(POOL))

    assert n_dropped(gateway) == len(asked)
    assert errors(gateway) == []


async def test_a_line_says_nothing_after_its_end(redis_url: str, tmp_path: Path) -> None:
    # Comments without a pause, so that one falls between the last frame and the reader's leaving.
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
    # So often that comments alone fill what the gateway buffers beyond the kernel.
    settings = {"send_timeout_s": 0.5, "keep_alive_s": 0.002, "redis_connections": POOL}
    with counted_gateway(redis_url, tmp_path, **settings) as gateway:
        async with one_job(redis_url) as jobs:
            [job_id] = jobs.ids
            before = await gateway.holds()
            reader = SseReader(stream_of(job_id), lambda: [gateway.port])
            async with anyio.create_task_group() as group:
                group.start_soon(reader.follow)
                await reader.has(2)
                with stalled(gateway, request(stream_of(job_id))) as [line]:
                    await until(gateway, lambda holds: holds.subscribers == 2)
                    await jobs.record(job_id, *["x" * 10_000] * (CERTAINLY_FITS // 10_000))
                    await until_the_kernel_is_full(gateway, line, jobs, reader)
                    await until(gateway, lambda holds: holds.subscribers == 1)
                await jobs.end()
        await gateway.until_it_holds(before.with_pool(POOL))

    assert n_dropped(gateway) == 1
    assert reader.lines == 1
    assert errors(gateway) == []


async def until_the_kernel_is_full(
    gateway: CountedGateway, line: socket.socket, jobs: FollowedJobs, reader: SseReader
) -> None:
    """Record events until three in a row went no further than to the gateway's own buffer."""
    [job_id] = jobs.ids
    taken = [-3, -2, -1]
    while len(set(taken[-3:])) > 1:
        await jobs.record(job_id, "x" * 10_000)
        await reader.has(jobs.n_events(job_id))
        taken.append(unsent_bytes(gateway.port, line.getsockname()[1]))


def unsent_bytes(port: int, peer: int) -> int:
    """What the kernel holds of what was written on `port` for the peer, as proc_net_tcp(5) has it."""
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = row.split()
        if (int(local.split(":")[1], 16), int(remote.split(":")[1], 16)) == (port, peer):
            return int(queues.split(":")[0], 16)
    raise AssertionError("there is no such line")

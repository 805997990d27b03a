"""Many readers while connections are cut, gateways are killed, and readers come and go.

Each event reaches each reader once, and nothing is left behind.
"""

import asyncio
import random
import socket
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from shared_schemas.ids import JobId

from tests.support.counted import CountedGateway, counted_gateway
from tests.support.followed_jobs import FollowedJobs, all_have, followed, stream_of
from tests.support.gateways import Gateway, driver, gateways
from tests.support.redis_server import RedisServer
from tests.support.sse_reader import SseReader, request, reset

LONGEST_UNCUT = 3000
POOL = 8


def readers_of(jobs: FollowedJobs, served_by: list[Gateway], n: int, rng: random.Random) -> list[SseReader]:
    """Readers that cut half of the connections that they open, anywhere."""

    def reader(job_id: JobId) -> SseReader:
        own = random.Random(rng.random())
        return SseReader(
            stream_of(job_id),
            lambda: [gateway.port for gateway in served_by],
            cut_after=lambda: own.randint(1, LONGEST_UNCUT) if own.random() < 0.5 else None,
            rng=own,
        )

    return [reader(jobs.ids[i % len(jobs.ids)]) for i in range(n)]


async def storm(redis_url: str, folder: Path, rng: random.Random, *, n_readers: int, n_jobs: int, n_kills: int) -> None:
    with gateways(redis_url, folder, 2, keep_alive_s=3600) as pair:
        async with followed(redis_url, rng, n_jobs) as jobs:
            readers = readers_of(jobs, pair, n_readers, rng)
            with anyio.fail_after(60 + 30 * n_kills):
                async with anyio.create_task_group() as group:
                    for reader in readers:
                        group.start_soon(reader.follow)
                    for _ in range(n_kills):
                        await jobs.go_on()
                        await all_have(readers, jobs)
                        victim = rng.choice(pair)
                        before, after = jobs.ids[: n_jobs // 2], jobs.ids[n_jobs // 2 :]
                        async with anyio.create_task_group() as recording:
                            recording.start_soon(jobs.go_on, before)
                            victim.kill()
                        async with anyio.create_task_group() as recording:
                            recording.start_soon(jobs.go_on, after)
                            recording.start_soon(anyio.to_thread.run_sync, victim.start)
                    await jobs.end()
            stored = {job_id: await jobs.as_stored(job_id) for job_id in jobs.ids}
            for i, reader in enumerate(readers):
                assert reader.events == stored[jobs.ids[i % n_jobs]]
            for gateway in pair:
                for job_id in jobs.ids:
                    replay = SseReader(stream_of(job_id), lambda gateway=gateway: [gateway.port])
                    await replay.follow()
                    assert (replay.events, replay.n_connections) == (stored[job_id], 1)


@pytest.mark.timeout(900)
@pytest.mark.fault(
    "gateways",
    "kill -9 of two gateways, twenty times, under 500 readers of 50 jobs whose connections are cut at random",
    sees="each reader resumes on either gateway and gets events 1 to N once, in the same bytes as a replay",
)
async def test_five_hundred_readers_get_every_event_once_whatever_is_killed_and_cut(
    redis_url: str, tmp_path: Path, rng: random.Random
) -> None:
    await storm(redis_url, tmp_path, rng, n_readers=500, n_jobs=50, n_kills=20)


@pytest.mark.quick
@pytest.mark.fault(
    "gateways",
    "kill -9 of a gateway while connections are cut at random",
    sees="readers resume on another gateway without a gap",
)
async def test_readers_get_every_event_once_whatever_is_killed_and_cut(
    redis_url: str, tmp_path: Path, rng: random.Random
) -> None:
    await storm(redis_url, tmp_path, rng, n_readers=40, n_jobs=5, n_kills=2)


@pytest.mark.fault(
    "readers",
    "2,000 readers of 100 jobs on one gateway",
    sees="each reader gets each event once; the gateway has one subscription and a bounded pool",
)
async def test_connections_to_redis_do_not_grow_with_readers(
    own_redis: RedisServer, tmp_path: Path, rng: random.Random
) -> None:
    with gateways(own_redis.url, tmp_path, 1, keep_alive_s=3600, redis_connections=POOL) as [gateway]:
        async with followed(own_redis.url, rng, 100) as jobs, driver(own_redis.url) as watch:
            readers = [SseReader(stream_of(jobs.ids[i % 100]), lambda: [gateway.port]) for i in range(2000)]
            async with anyio.create_task_group() as group:
                for i in range(0, len(readers), 200):
                    for reader in readers[i : i + 200]:
                        group.start_soon(reader.follow)
                    await all_have(readers[i : i + 200], jobs)
                await jobs.go_on()
                await all_have(readers, jobs)
                clients = await watch.client.client_list()
                await jobs.end()
            stored = {job_id: await jobs.as_stored(job_id) for job_id in jobs.ids}

    assert sum(int(client["sub"]) > 0 for client in clients) == 1
    # The pool, the subscription, and what this test has open.
    assert len(clients) <= POOL + 1 + 3
    assert [reader.events for reader in readers] == [stored[jobs.ids[i % 100]] for i in range(2000)]
    assert [reader.n_connections for reader in readers] == [1] * 2000


@pytest.mark.quick
@pytest.mark.fault(
    "readers",
    "hundreds of connections are reset with SO_LINGER 0, half-closed or closed at any moment",
    sees="nothing: no subscriber, task, connection or file descriptor is left",
)
async def test_nothing_is_left_of_readers_that_come_and_go(redis_url: str, tmp_path: Path, rng: random.Random) -> None:
    with counted_gateway(redis_url, tmp_path, redis_connections=POOL) as gateway:
        idle = await gateway.holds()
        async with followed(redis_url, rng, 3) as jobs:
            paths = [*(stream_of(job_id) for job_id in jobs.ids), "/events", f"/events?job={jobs.ids[0]}"]
            await come_and_go(gateway, paths, rng)
            settled = await gateway.holds()
            for _ in range(3):
                await come_and_go(gateway, paths, rng)
            assert (await gateway.holds()).rss_mb < settled.rss_mb + 20
        # The pool of connections to Redis stays open.
        await gateway.until_it_holds(idle.with_pool(POOL))
    assert [line for line in gateway.log() if line["level"] == "error"] == []


async def come_and_go(gateway: CountedGateway, paths: list[str], rng: random.Random) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(visit, gateway.port, rng.choice(paths), random.Random(rng.random()))


async def visit(port: int, path: str, rng: random.Random) -> None:
    with suppress(OSError, EOFError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        whole = request(path)
        writer.write(rng.choice([b"", whole[:20], whole, whole, whole, whole]))
        with anyio.move_on_after(rng.uniform(0, 0.05)):
            await reader.readexactly(rng.randint(1, 400))
        match rng.choice(["reset", "half-close", "close"]):
            case "reset":
                reset(writer)
            case "half-close":
                writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
                # For the gateway, such a reader has gone.
                await reader.read()
                writer.close()
            case "close":
                writer.close()

"""Something between a reader and its events breaks: a gateway ends, Redis hangs or dies, a proxy
buffers responses."""

import random
import signal
import tempfile
from pathlib import Path

import anyio
import pytest
from shared_schemas.stream import keys

from tests.support.buffering_proxy import BUFFER_BYTES, buffering_proxy
from tests.support.followed_jobs import FollowedJobs, all_have, followed, stream_of
from tests.support.gateways import DEADLINE_S, Gateway, frames, gateways, running_gateway, until_cut
from tests.support.redis_server import RedisServer, running_redis
from tests.support.sse_reader import SseReader
from tests.support.stored import make_long

DRAIN_S = 5.0
# uvicorn raises the signal again once it has shut down.
ENDED = (0, -signal.SIGTERM)


def readers_of(jobs: FollowedJobs, served_by: list[Gateway], n: int) -> list[SseReader]:
    ports = [gateway.port for gateway in served_by]
    return [SseReader(stream_of(jobs.ids[i % len(jobs.ids)]), lambda: ports) for i in range(n)]


async def check_all_came(jobs: FollowedJobs, readers: list[SseReader]) -> None:
    stored = [await jobs.as_stored(job_id) for job_id in jobs.ids]
    assert [reader.events for reader in readers] == [stored[i % len(stored)] for i in range(len(readers))]


@pytest.mark.fault(
    "gateways",
    "a rolling restart: SIGTERM of each gateway in turn under open streams",
    sees="streams are cut and resume on the other gateway without a gap; each process ends within its grace period",
)
async def test_readers_go_on_elsewhere_when_their_gateway_is_asked_to_stop(
    redis_url: str, tmp_path: Path, rng: random.Random
) -> None:
    with gateways(redis_url, tmp_path, 2, drain_s=DRAIN_S) as pair:
        async with followed(redis_url, rng, 5) as jobs:
            readers = readers_of(jobs, pair, 50)
            async with anyio.create_task_group() as group:
                for reader in readers:
                    group.start_soon(reader.follow)
                for gateway in pair:
                    await jobs.go_on()
                    await all_have(readers, jobs)
                    gateway.terminate()
                    await jobs.go_on()
                    status = await anyio.to_thread.run_sync(lambda gateway=gateway: gateway.stop(within_s=DRAIN_S + 5))
                    assert status in ENDED
                    await all_have(readers, jobs)
                    await anyio.to_thread.run_sync(gateway.start)
                await jobs.end()
            await check_all_came(jobs, readers)
        cut = [line for gateway in pair for line in gateway.log() if line["level"] == "error"]
    assert cut == []


@pytest.mark.quick
@pytest.mark.fault(
    "network",
    "Redis stopped with SIGSTOP under open streams, then SIGTERM of the gateway",
    sees=(
        "keep-alive comments continue; then the streams are cut, so that readers resume; the "
        "process ends within its grace period"
    ),
)
@pytest.mark.parametrize("path", ["/jobs/{job_id}/events", "/events?after=0", "/events?job={job_id}"])
async def test_streams_are_kept_alive_and_end_on_time_while_redis_hangs(
    own_redis: RedisServer, tmp_path: Path, rng: random.Random, path: str
) -> None:
    gateway = Gateway(own_redis.url, tmp_path / "gateway.log", keep_alive_s=0.2, drain_s=DRAIN_S)
    gateway.start()
    assert own_redis.process is not None
    try:
        async with followed(own_redis.url, rng, 1) as jobs, gateway.client() as http:
            async with http.stream("GET", path.format(job_id=jobs.ids[0])) as response:
                chunks = response.aiter_bytes()
                while b"claimed" not in await anext(chunks):
                    pass
                own_redis.process.send_signal(signal.SIGSTOP)
                n_comments = 0
                with anyio.fail_after(DEADLINE_S):
                    # Many more comments than came before the read of the timeline, which now hangs.
                    while n_comments < 10:
                        n_comments += (await anext(chunks)).count(b": keep-alive\n\n")
                gateway.terminate()
                rest = b"".join([chunk async for chunk in until_cut(chunks)])
            status = await anyio.to_thread.run_sync(lambda: gateway.stop(within_s=DRAIN_S + 5))
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
        gateway.stop()

    assert b"event: " not in rest
    assert status in ENDED


@pytest.mark.quick
@pytest.mark.fault(
    "readers",
    "a proxy in front of the gateway buffers 4 KB of a response",
    sees="nothing: events of a few bytes pass through at once",
)
async def test_a_buffering_proxy_lets_events_through_as_they_come(
    redis_url: str, tmp_path: Path, rng: random.Random
) -> None:
    with running_gateway(redis_url, tmp_path, keep_alive_s=3600) as gateway:
        async with followed(redis_url, rng, 1) as jobs, buffering_proxy(gateway.port) as port:
            [job_id] = jobs.ids
            reader = SseReader(stream_of(job_id), lambda: [port])
            async with anyio.create_task_group() as group:
                group.start_soon(reader.follow)
                for i in range(3):
                    await jobs.record(job_id, "x")
                    with anyio.fail_after(DEADLINE_S):
                        await reader.has(3 + i)
                assert sum(map(len, reader.events)) < BUFFER_BYTES
                await jobs.end()
            await check_all_came(jobs, [reader])


@pytest.mark.fault(
    "readers",
    "the gateway's subscription is cut with CLIENT KILL 100 times under load",
    sees="nothing: each event once, in order, on the same connection",
)
async def test_a_subscription_cut_again_and_again_costs_no_event(
    redis_url: str, tmp_path: Path, rng: random.Random
) -> None:
    with gateways(redis_url, tmp_path, 1, keep_alive_s=3600) as served_by:
        async with followed(redis_url, rng, 10) as jobs:
            readers = readers_of(jobs, served_by, 50)
            async with anyio.create_task_group() as group:
                for reader in readers:
                    group.start_soon(reader.follow)
                for _ in range(100):
                    await jobs.client.client_kill_filter(_type="pubsub")
                    await jobs.go_on()
                await all_have(readers, jobs)
                await jobs.end()
            await check_all_came(jobs, readers)
    assert [reader.n_connections for reader in readers] == [1] * len(readers)


@pytest.mark.fault(
    "readers",
    "under open streams, Redis with appendfsync always is killed and started again, and stopped "
    "with SIGSTOP for seconds",
    sees="each event once, in order, on the same connection",
)
async def test_streams_outlive_redis(tmp_path: Path, rng: random.Random) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="hr-") as folder,
        # With everysec, Redis answers before it writes while its disk is busy: what a reader has seen could be lost.
        running_redis(Path(folder), options=("--appendfsync", "always")) as own_redis,
        gateways(own_redis.url, tmp_path, 1, redis_timeout_s=1) as served_by,
    ):
        async with followed(own_redis.url, rng, 5) as jobs:
            readers = readers_of(jobs, served_by, 50)
            async with anyio.create_task_group() as group:
                for reader in readers:
                    group.start_soon(reader.follow)
                for round_ in range(6):
                    await jobs.go_on()
                    await all_have(readers, jobs)
                    if round_ % 2:
                        own_redis.kill()
                        await anyio.to_thread.run_sync(own_redis.start)
                    else:
                        await stopped_for(own_redis, rng.uniform(0, 5))
                await jobs.go_on()
                await all_have(readers, jobs)
                await jobs.end()
            await check_all_came(jobs, readers)
    assert [reader.n_connections for reader in readers] == [1] * len(readers)


async def stopped_for(server: RedisServer, seconds: float) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        await anyio.sleep(seconds)
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.mark.quick
@pytest.mark.fault(
    "readers",
    "Redis comes back without the last events that a reader has seen",
    sees="a `gap` event in the open stream, then the job from its first event",
)
async def test_a_reader_gets_a_gap_when_redis_has_lost_what_it_saw(
    redis_url: str, tmp_path: Path, rng: random.Random
) -> None:
    with running_gateway(redis_url, tmp_path, keep_alive_s=3600) as gateway:
        async with followed(redis_url, rng, 1) as jobs, gateway.client() as http:
            [job_id] = jobs.ids
            await jobs.record(job_id, "a", "b", "c")
            async with http.stream("GET", stream_of(job_id)) as response:
                stream = frames(response)
                before = [await anext(stream) for _ in range(5)]
                # As after a power loss: the last two events are gone, and every connection to Redis was cut.
                await make_long(jobs.client, job_id)
                await jobs.client.xdel(keys.events(job_id), "4-0", "5-0")
                await jobs.client.client_kill_filter(_type="pubsub")
                gap, *again = [await anext(stream) for _ in range(4)]

    assert (gap.id, gap.event, gap.json["requested"], gap.json["oldest"]) == ("0", "gap", 5, 1)
    assert again == before[:3]

"""The log of all jobs while connections are cut, and timelines that disappear while they are read."""

import random
from collections import defaultdict
from pathlib import Path

import anyio
import pytest
from shared_schemas.ids import JobId, QueueName, queue_of
from shared_schemas.specs import InferenceSpec
from shared_schemas.stream.change_log import ChangeLog

from tests.support.followed_jobs import stream_of
from tests.support.gateways import (
    DEADLINE_S,
    INFERENCE,
    TRAINING,
    TRAINING_BODY,
    Driver,
    driver,
    frames,
    gateways,
    running_gateway,
)
from tests.support.redis_server import RedisServer
from tests.support.sse_reader import SseReader
from tests.support.workers import Bench

DataByQueue = dict[QueueName, list[bytes]]


class LogReader(SseReader):
    """Follows a stream that has no end."""

    @property
    def is_done(self) -> bool:
        return False

    def received(self) -> DataByQueue:
        """The data of each queue's log, in the order in which it came."""
        received: DataByQueue = defaultdict(list)
        for event in self.events:
            data = event.split(b"\ndata: ")[1]
            job_id = JobId(data.split(b'"')[3].decode())
            received[queue_of(job_id)].append(data)
        return received


async def stored(log: ChangeLog) -> DataByQueue:
    return {
        queue: [b'{"job_id":"%b",%b' % (entry.job_id.encode(), entry.data[1:]) for entry in await log.read(queue)]
        for queue in (INFERENCE, TRAINING)
    }


async def something_happens(drive: Driver, name: str) -> None:
    """A job in each of two queues."""
    await drive.publish(name)
    await drive.finish(await Bench(drive.client).submit(InferenceSpec(model_id=name, input_data=1), queue=INFERENCE))


@pytest.mark.fault(
    "readers",
    "connections of readers of all jobs are cut at random, the subscription is cut, a gateway and Redis are killed",
    sees="each reader gets each change of state once, in the order of its queue",
)
async def test_the_log_of_all_jobs_has_everything_once_under_cuts(
    own_redis: RedisServer, tmp_path: Path, rng: random.Random
) -> None:
    with gateways(own_redis.url, tmp_path, 2, redis_timeout_s=1, keep_alive_s=3600) as pair:

        def reader() -> LogReader:
            own = random.Random(rng.random())
            ports = [gateway.port for gateway in pair]
            return LogReader(
                "/events?after=0", lambda: ports, rng=own, cut_after=lambda: own.choice([None, own.randint(1, 9000)])
            )

        readers = [reader() for _ in range(30)]
        async with driver(own_redis.url) as drive, anyio.create_task_group() as group:
            for reading in readers:
                group.start_soon(reading.follow)
            for i in range(12):
                await drive.client.client_kill_filter(_type="pubsub")
                await something_happens(drive, f"model-{i}")
                if i % 4 == 1:
                    pair[0].kill()
                    await something_happens(drive, f"other-{i}")
                    await anyio.to_thread.run_sync(pair[0].start)
                if i % 4 == 3:
                    own_redis.kill()
                    await anyio.to_thread.run_sync(own_redis.start)
            kept = await stored(ChangeLog(drive.nodes))
            for reading in readers:
                await reading.has(sum(map(len, kept.values())))
            group.cancel_scope.cancel()

    assert [reading.received() for reading in readers] == [kept] * len(readers)


@pytest.mark.quick
@pytest.mark.fault(
    "readers",
    "a finished job expires while a reader follows it together with another job, and between "
    "two connections of a reader",
    sees="the stream continues with the other job; a reader that resumes the expired job gets 410",
)
async def test_a_stream_outlives_a_job_that_expires(redis_url: str, tmp_path: Path) -> None:
    with running_gateway(redis_url, tmp_path, keep_alive_s=0.2) as gateway:
        async with driver(redis_url) as drive, gateway.client() as http:
            short, long = [
                JobId((await http.post("/jobs/training", json={**TRAINING_BODY, **more})).json()["job_id"])
                for more in ({"result_ttl_s": 1}, {})
            ]
            both = SseReader(f"/events?job={short}&job={long}", lambda: [gateway.port])
            both = LogReader(f"/events?job={short}&job={long}", lambda: [gateway.port])
            async with anyio.create_task_group() as group:
                group.start_soon(both.follow)
                await drive.finish(short)
                await both.has(4)
                with anyio.fail_after(DEADLINE_S):
                    while (await http.get(f"/jobs/{short}")).status_code == 200:  # noqa: ASYNC110 - nothing announces it
                        await anyio.sleep(0.1)
                resumed = await http.get(stream_of(short), headers={"Last-Event-ID": "2"})
                await drive.finish(long)
                await both.has(6)
                group.cancel_scope.cancel()

    assert (resumed.status_code, resumed.json()["code"]) == (410, "job_expired")
    assert [event.split(b"\n")[1] for event in both.events].count(b"event: done") == 2
    assert both.n_connections == 1


@pytest.mark.quick
@pytest.mark.fault("redis", "FLUSHALL under an open stream", sees="the stream ends; a reader that resumes it gets 404")
async def test_a_stream_ends_when_its_job_is_gone(redis_url: str, tmp_path: Path) -> None:
    with running_gateway(redis_url, tmp_path, keep_alive_s=0.2) as gateway:
        async with driver(redis_url) as drive, gateway.client() as http:
            job_id = (await http.post("/jobs/training", json=TRAINING_BODY)).json()["job_id"]
            async with http.stream("GET", stream_of(job_id)) as response:
                stream = frames(response)
                await anext(stream)
                await drive.client.flushall()
                with anyio.fail_after(DEADLINE_S):
                    rest = [frame async for frame in stream]
            resumed = await http.get(stream_of(job_id), headers={"Last-Event-ID": "1"})

    assert (rest, resumed.status_code) == ([], 404)

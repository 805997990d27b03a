"""A Redis that has just started and loads its data: what the gateway reports meanwhile."""

import tempfile
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from redis.exceptions import ResponseError
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.connection import connect
from shared_schemas.stream.fitness import check_server
from shared_schemas.stream.redis_settings import RedisSettings

from tests.support.redis_server import running_redis

READING = "Redis is still reading its data"


@pytest.mark.quick
@pytest.mark.fault(
    "redis",
    "Redis reads its append-only file after a restart",
    sees="the gateway reports that Redis is unavailable, not that it has no such file",
)
async def test_a_redis_that_loads_its_data_is_not_reported_as_keeping_none() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="hr-") as folder,
        # Loading all the commands below takes five seconds. Redis serves its clients after every thousand.
        running_redis(Path(folder), options=("--key-load-delay", "250", "--appendfsync", "always")) as server,
    ):
        # With retries of its own, the client could wait until everything is loaded.
        client = connect(RedisSettings(redis_url=server.url), retries=0)
        pipeline = client.pipeline(transaction=False)
        for n in range(20_000):
            pipeline.set(f"key {n}", n)
        await pipeline.execute()
        server.kill()
        said = set[str]()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, server.start)
                while True:
                    # A refused connection may not yield to other tasks.
                    await anyio.lowlevel.checkpoint()
                    try:
                        faults = await check_server(client)
                        break
                    except BackendUnavailable as error:
                        said.add(str(error))
                        if READING in said:
                            # Redis 6.2 cannot change this setting while it loads.
                            with suppress(ResponseError):
                                await client.config_set("key-load-delay", 0)
        await client.aclose()

    assert faults == []
    assert READING in said

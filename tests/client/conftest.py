"""A real gateway process on the shared Redis, without workers: tests bring their own."""

import io
import os
from collections.abc import Iterator

import pytest
from headrace_local.logs import Log
from headrace_local.system import LocalSystem, SystemConfig, free_port, running_system
from rich.console import Console
from shared_schemas.ids import default_queue
from shared_schemas.kinds import JobKind

from tests.support.redis_server import RedisServer
from tests.support.workers import bench


@pytest.fixture(scope="module")
def system(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    config = SystemConfig(
        data_dir=tmp_path_factory.mktemp("system"),
        environment={name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")},
        port=free_port(),
        workers={},
        redis_url=shared_redis.url,
    )
    with running_system(config, Log(Console(file=io.StringIO(), width=200))) as system:
        yield system


@pytest.fixture
async def gateway_url(system: LocalSystem, redis_url: str) -> str:
    """The address of the gateway. Its Redis is emptied, except for the names of the queues, which
    a gateway writes once."""
    async with bench(redis_url) as jobs:
        for kind in JobKind:
            await jobs.catalog.declare(default_queue(kind))
    return system.url

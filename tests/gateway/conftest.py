"""One gateway process for the tests that leave it running, on the shared Redis, without workers."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.support.gateways import Driver, Gateway, driver, running_gateway
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="session")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    # Long enough that no test is helped by a regular look at the timeline.
    with running_gateway(shared_redis.url, folder, keep_alive_s=3600) as gateway:
        yield gateway


@pytest.fixture
async def http(gateway: Gateway, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        yield client


@pytest.fixture
async def drive(redis_url: str) -> AsyncIterator[Driver]:
    async with driver(redis_url) as made:
        yield made

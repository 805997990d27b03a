"""Fixtures that every area shares, and which Redis they run on."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.redis_server import ForeignRedis, RedisServer, choose, running_redis


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--redis-server", metavar="PATH", help="the redis-server or valkey-server to start")
    parser.addoption(
        "--redis-url", metavar="URL", help="a running Redis to use, AND TO EMPTY, where one is shared; -n 0"
    )


def pytest_configure(config: pytest.Config) -> None:
    if server := config.getoption("--redis-server"):
        choose(server)
    if config.getoption("--redis-url") and hasattr(config, "workerinput"):
        raise pytest.UsageError("two processes cannot share one --redis-url: add -n 0")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("fault") is not None:
            item.add_marker("chaos")


@pytest.fixture(scope="session")
def shared_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer | ForeignRedis]:
    """One server for the tests of this process that neither stop nor flush it."""
    if url := request.config.getoption("--redis-url"):
        yield ForeignRedis(url)
        return
    # A socket's path may have 107 bytes; pytest's own temporary folders are longer.
    with tempfile.TemporaryDirectory(prefix="hr-") as folder, running_redis(Path(folder)) as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer | ForeignRedis) -> str:
    """The shared server, emptied before each test."""
    client = redis.Redis.from_url(shared_redis.url, protocol=2)
    client.flushall()
    client.script_flush()
    client.close()
    return shared_redis.url


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of the test's own, which it may kill, stop and start again: killed, it has all that it answered."""
    with (
        tempfile.TemporaryDirectory(prefix="hr-") as folder,
        running_redis(Path(folder), options=("--appendfsync", "always")) as server,
    ):
        yield server

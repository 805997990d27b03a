"""Fixtures that every area shares."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.redis_server import RedisServer, running_redis


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for the tests of this process that neither stop nor flush it."""
    # A socket's path may have 107 bytes; pytest's own temporary folders are longer.
    with tempfile.TemporaryDirectory(prefix="hr-") as folder, running_redis(Path(folder)) as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """The shared server, emptied before each test."""
    client = redis.Redis(unix_socket_path=str(shared_redis.socket), protocol=2)
    client.flushall()
    client.script_flush()
    client.close()
    return shared_redis.url


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of the test's own, which it may kill, stop and start again."""
    with tempfile.TemporaryDirectory(prefix="hr-") as folder, running_redis(Path(folder)) as server:
        yield server

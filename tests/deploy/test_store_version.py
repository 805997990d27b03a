"""A process works only on a database of its own version, and otherwise says why in one line."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from shared_schemas.service.settings import SettingsRejected
from shared_schemas.stream import keys
from shared_schemas.stream.connection import connect
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.store_version import STORE_VERSION, check_store

from tests.deploy.test_bad_settings import PARTS, ended
from tests.support.gateways import Gateway
from tests.support.redis_server import RedisServer
from tests.support.workers import bench


@pytest.fixture(autouse=True)
def leaves_no_mark(shared_redis: RedisServer) -> Iterator[None]:
    """A gateway that the next tests share starts before they empty their Redis, and would end at the mark."""
    yield
    with redis.Redis.from_url(shared_redis.url) as client:
        client.delete(keys.STORE)


@pytest.mark.parametrize("part", ["gateway", "training-worker", "inference-worker"])
async def test_a_part_ends_at_a_database_of_another_version_and_writes_nothing(
    redis_url: str, tmp_path: Path, part: str
) -> None:
    async with bench(redis_url) as side:
        await side.client.set(keys.STORE, STORE_VERSION + 1)

        process = ended(PARTS[part], tmp_path, HEADRACE_REDIS_URL=redis_url, HEADRACE_ARTIFACTS_ROOT=str(tmp_path))

        assert process.returncode == os.EX_CONFIG, process.stderr
        assert process.stderr.startswith(f"{part}: HEADRACE_REDIS_URL: the database is of version {STORE_VERSION + 1} ")
        assert process.stderr.count("\n") == 1
        assert await side.client.keys() == [keys.STORE.encode()]


async def test_a_gateway_that_was_there_before_redis_ends_when_it_meets_another_version(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    async with bench(own_redis.url) as side:
        await side.client.set(keys.STORE, STORE_VERSION + 1)
    own_redis.kill()
    gateway = Gateway(own_redis.url, tmp_path / "gateway.log")
    gateway.start()
    assert gateway.process is not None
    try:
        own_redis.start()
        assert gateway.process.wait(timeout=20) == os.EX_CONFIG
    except subprocess.TimeoutExpired:
        gateway.kill()
        raise
    assert f"the database is of version {STORE_VERSION + 1}" in (tmp_path / "gateway.log").read_text()


@pytest.mark.parametrize("mark", [None, str(STORE_VERSION), "x", "-1", "", b"\xff", "a list"])
async def test_a_database_is_marked_once_and_one_whose_mark_is_none_is_marked_anew(
    redis_url: str, mark: str | bytes | None
) -> None:
    client = connect(RedisSettings(redis_url=redis_url))
    if mark == "a list":
        await client.rpush(keys.STORE, mark)
    elif mark is not None:
        await client.set(keys.STORE, mark)

    for _ in range(2):
        await check_store(client)

    assert await client.get(keys.STORE) == str(STORE_VERSION).encode()
    await client.aclose()


@pytest.mark.parametrize("mark", ["0", "2", "10"])
async def test_another_number_is_another_version(redis_url: str, mark: str) -> None:
    client = connect(RedisSettings(redis_url=redis_url))
    await client.set(keys.STORE, mark)

    with pytest.raises(SettingsRejected, match=f"version {mark} "):
        await check_store(client)

    assert await client.get(keys.STORE) == mark.encode()
    await client.aclose()

"""Whether a Redis server is fit to keep jobs: its version, its persistence, its role. Changes nothing there."""

from typing import Any

from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.redis_errors import translate_errors


async def check_server(client: AsyncRedis) -> list[str]:
    """What makes this Redis unfit to keep jobs, in one sentence each. Empty if it is fit."""
    return faults_of(await server_facts(client))


async def server_facts(client: AsyncRedis) -> dict[str, Any]:
    """For faults_of and known_bugs.warnings_of."""
    with translate_errors():
        facts: dict[str, Any] = await client.info("everything")
    if facts.get("loading"):
        # While it reads its append-only file, Redis says that it keeps none.
        raise BackendUnavailable("Redis is still reading its data")
    return facts


def faults_of(facts: dict[str, Any]) -> list[str]:
    """facts: the reply of INFO, as redis-py parses it."""
    faults = []
    version = tuple(int(part) for part in str(facts.get("redis_version", "0")).split(".")[:2])
    if version < (6, 2):
        faults.append(f"Redis {facts.get('redis_version')} is too old: 6.2 or newer is needed")
    if facts.get("maxmemory_policy", "noeviction") != "noeviction":
        faults.append(f"maxmemory-policy is {facts['maxmemory_policy']}: it may evict jobs; set it to noeviction")
    if not facts.get("aof_enabled"):
        faults.append("the append-only file is off: a restart would lose jobs; set appendonly to yes")
    if facts.get("aof_last_write_status", "ok") != "ok":
        faults.append("the last write of the append-only file failed: is the disk full?")
    if facts.get("role", "master") != "master":
        faults.append("this Redis is a replica: connect to the master")
    return faults

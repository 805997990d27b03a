"""Clients of Redis, every option stated: a pool, one connection for calls in a row, one for a thread.

redis-py changed its defaults between majors (protocol, timeouts, retries, pool size), so none is left to it.
"""

from typing import Any, TypeAlias

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import FullJitterBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError, ReadOnlyError, TimeoutError
from redis.retry import Retry

from shared_schemas.stream.password_file import credentials_of
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.stale_master import connection_class_for

# redis-py annotates every reply as bytes, str or nothing, whatever decode_responses says. The modules of this package
# take its replies as they are and return Structs.
AsyncRedis: TypeAlias = Any
SyncRedis: TypeAlias = Any

# After one of these the connection is closed, and the command is sent again on another. READONLY: the server is a
# former master.
_CLOSES_CONNECTION = (ConnectionError, TimeoutError, ReadOnlyError)

# Made once: else each new connection would read the package's version from a file, and fail where none can be opened.
_DRIVER = DriverInfo()


def connect(settings: RedisSettings, *, retries: int = 3) -> AsyncRedis:
    """A pool for short commands. A command is sent again up to `retries` times when its connection breaks. Every script
    is safe to repeat, except the claim: its client passes 0."""
    return redis.asyncio.Redis.from_pool(_pool(settings, retries))


def connect_one(settings: RedisSettings, *, retries: int = 3) -> AsyncRedis:
    """As connect, for calls that follow one another on one connection: a pool spends half the time of a call on handing
    out a connection."""
    client = redis.asyncio.Redis(connection_pool=_pool(settings, retries), single_connection_client=True)
    client.auto_close_connection_pool = True
    return client


def _pool(settings: RedisSettings, retries: int) -> Any:
    retry = AsyncRetry(FullJitterBackoff(cap=0.5, base=0.02), retries, supported_errors=_CLOSES_CONNECTION)
    # Whoever finds all connections in use waits for one; the plain pool would fail the command at once.
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.redis_url,
        timeout=settings.redis_timeout_s,
        protocol=2,
        decode_responses=False,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_timeout_s,
        max_connections=settings.redis_connections,
        health_check_interval=0,
        driver_info=_DRIVER,
        retry=retry,
        credential_provider=credentials_of(settings),
    )
    pool.connection_class = connection_class_for(settings.redis_url, pool.connection_class)
    return pool


def connect_for_thread(settings: RedisSettings) -> SyncRedis:
    """One connection for a thread of its own."""
    retry = Retry(FullJitterBackoff(cap=0.5, base=0.02), 1, supported_errors=_CLOSES_CONNECTION)
    return redis.Redis.from_url(
        settings.redis_url,
        protocol=2,
        decode_responses=False,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_timeout_s,
        max_connections=2,
        health_check_interval=0,
        driver_info=_DRIVER,
        retry=retry,
        credential_provider=credentials_of(settings),
    )

"""Clients of Redis: a pool, one connection for calls in a row, one connection for a thread.

Every option is given: redis-py has changed defaults between major versions (protocol, timeouts, retries, pool size).
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

# redis-py annotates replies as bytes, str or None, whatever decode_responses says. The modules of this package take the
# replies as they are and return Structs.
AsyncRedis: TypeAlias = Any
SyncRedis: TypeAlias = Any

# After one of these errors the connection is closed and the command is sent again on another. ReadOnlyError: the server
# is a former master.
_CLOSES_CONNECTION = (ConnectionError, TimeoutError, ReadOnlyError)

# Made once. Otherwise each new connection would read the version of the package from a file, and fail if it is missing.
_DRIVER = DriverInfo()


def connect(settings: RedisSettings, *, retries: int = 3) -> AsyncRedis:
    """A pool for short commands. If its connection breaks, a command is sent again, up to `retries` times. Every script
    is safe to repeat except the claim, whose client passes 0."""
    return redis.asyncio.Redis.from_pool(_pool(settings, retries))


def connect_one(settings: RedisSettings, *, retries: int = 3) -> AsyncRedis:
    """As connect, but one connection for calls that follow each other. A pool spends half the time of a call on handing
    out a connection."""
    client = redis.asyncio.Redis(connection_pool=_pool(settings, retries), single_connection_client=True)
    client.auto_close_connection_pool = True
    return client


def _pool(settings: RedisSettings, retries: int) -> Any:
    retry = AsyncRetry(FullJitterBackoff(cap=0.5, base=0.02), retries, supported_errors=_CLOSES_CONNECTION)
    # If all connections are in use, a call waits for one. The plain pool would raise an error at once.
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

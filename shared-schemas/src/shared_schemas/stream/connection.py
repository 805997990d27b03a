"""Connections to Redis, every option stated, and the check that this Redis can be trusted with jobs.

redis-py changed its defaults between majors (protocol, timeouts, retries, pool size), so none is left to it.
Errors of the client library end here: everything above sees BackendUnavailable.
"""

import asyncio
import builtins
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import FullJitterBackoff
from redis.credentials import CredentialProvider
from redis.driver_info import DriverInfo
from redis.exceptions import (
    ConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from shared_schemas.errors import BackendUnavailable, CallRefused
from shared_schemas.settings import SettingsRejected, setting
from shared_schemas.stream.address import fault_of_url, has_credentials

# redis-py annotates every reply as bytes, str or nothing, whatever decode_responses says. Its replies are taken as
# they are by the few modules of this package and leave it as Structs.
AsyncRedis: TypeAlias = Any
SyncRedis: TypeAlias = Any

# Upon these a line is closed and the command sent again on another. READONLY: it leads to a master of before.
_ENDS_LINE = (ConnectionError, TimeoutError, ReadOnlyError)

# Made once: else each new connection would read the package's version from a file, and fail where none can be opened.
_DRIVER = DriverInfo()

# Redis 6.2 says what it refused to a script behind where in the script that was.
_PASSING = re.compile(
    r"(?:^|: -)(MISCONF|LOADING|READONLY|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|NOREPLICAS|OOM|BUSY)\b", re.ASCII
)

_SCRIPT_LINE = re.compile(r"user_script:(\d+):", re.ASCII)


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    redis_url: Annotated[
        str,
        setting(
            "Redis, as redis://host:port/0, unix:///path, or rediss://host:port/0?ssl_ca_certs=/path for TLS",
            change="always, unless Redis is on the same machine",
        ),
    ] = "redis://127.0.0.1:6379/0"
    redis_user: Annotated[
        str, setting("user to log in to Redis as, with the password of the file", change="Redis has an access list")
    ] = ""
    redis_password_file: Annotated[
        str,
        setting(
            "file that holds the password; it is read for each new connection, so a changed one needs no restart",
            change="Redis asks for a password; no user is needed with requirepass",
        ),
    ] = ""
    redis_timeout_s: Annotated[
        float, setting("longest wait for one answer of Redis, s", change="Redis is far away", gt=0.0)
    ] = 5.0
    redis_connections: Annotated[
        int,
        setting(
            "most connections of this process to Redis at once", change="hundreds of requests wait for Redis", ge=4
        ),
    ] = 64

    def __post_init__(self) -> None:
        """SettingsRejected."""
        if fault := fault_of_url(self.redis_url):
            raise SettingsRejected(f"HEADRACE_REDIS_URL: it {fault}")
        if self.redis_user and not self.redis_password_file:
            raise SettingsRejected("HEADRACE_REDIS_USER: needs HEADRACE_REDIS_PASSWORD_FILE, which is not set")
        if self.redis_password_file and has_credentials(self.redis_url):
            raise SettingsRejected(
                "HEADRACE_REDIS_URL: it has a password or a name, and so has HEADRACE_REDIS_PASSWORD_FILE"
            )

    @property
    def redis_address(self) -> str:
        """For logs: the URL without the name, the password and what follows the path."""
        url = urlsplit(self.redis_url)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


def connect(settings: RedisSettings, *, retries: int = 3) -> AsyncRedis:
    """A pool for short commands. A command is sent again up to `retries` times when the line breaks, which is
    safe because every script is idempotent; the claim is not and passes 0."""
    return redis.asyncio.Redis.from_pool(_pool(settings, retries))


def connect_one(settings: RedisSettings, *, retries: int = 3) -> AsyncRedis:
    """As connect, for calls that follow one another: a line of their own spares each of them half of its time, which a
    pool spends on handing one out."""
    client = redis.asyncio.Redis(connection_pool=_pool(settings, retries), single_connection_client=True)
    client.auto_close_connection_pool = True
    return client


def _pool(settings: RedisSettings, retries: int) -> Any:
    retry = AsyncRetry(FullJitterBackoff(cap=0.5, base=0.02), retries, supported_errors=_ENDS_LINE)
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
        credential_provider=_credentials(settings),
    )
    pool.connection_class = _line_to(_master_at(settings.redis_url), pool.connection_class)
    return pool


class _Master:
    """Whom an address leads to, as far as this process knows. era: grows when one of its lines finds that it leads to a
    master of before."""

    def __init__(self) -> None:
        self.era = 0


@cache
def _master_at(url: str) -> _Master:
    return _Master()


def _line_to(master: _Master, connection_class: Any) -> Any:
    """A line that leaves a master of before once any other of this process has found it out: what is read there is old,
    and a line that only reads is never told. It also says that it was closed in the way that is taken for it, whichever
    event loop it is on."""

    class Connection(connection_class):  # type: ignore[misc]
        @property
        def leads_to_a_master_of_before(self) -> bool:
            return self.is_connected and self._era != master.era

        async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
            if not self.is_connected:
                self._era = master.era
            await super().connect_check_health(*arguments, **options)

        async def read_response(self, *arguments: Any, **options: Any) -> Any:
            try:
                return await super().read_response(*arguments, **options)
            except ResponseError as error:
                if refusal_of(error) == "READONLY" and self._era == master.era:
                    master.era += 1
                raise

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            """As the client library's, which waits by asyncio.wait_for: a task for each command, and on Python 3.11 a
            cancellation that comes as that task ends is lost (https://github.com/python/cpython/issues/86296)."""
            if self.leads_to_a_master_of_before:
                await self.disconnect()
            if not self.is_connected:
                await self.connect_check_health(check_health=False)
            try:
                if self._writer.transport.is_closing():
                    raise ConnectionResetError
                self._writer.writelines([command] if isinstance(command, bytes) else command)
                # Nearly always all of it is the system's by now.
                if self._writer.transport.get_write_buffer_size():
                    async with asyncio.timeout(self.socket_timeout):
                        await self._writer.drain()
            except builtins.TimeoutError:
                await self.disconnect(nowait=True)
                raise TimeoutError("Redis takes no command") from None
            # uvloop's answer to a write on a line that was reset while it was idle is a RuntimeError.
            except (OSError, RuntimeError) as error:
                await self.disconnect(nowait=True)
                raise ConnectionError("the line was closed") from error
            except BaseException:
                # Half a command may have been sent.
                await self.disconnect(nowait=True)
                raise

    return Connection


async def ask_together(client: AsyncRedis, *commands: tuple[Any, ...]) -> list[Any]:
    """Send commands to Redis at once, and take their replies as they come: a ResponseError is one of them. Redis begins
    with each when it has answered the one before, though that waited. Nothing is sent again. client: if it is of
    connect_one, nobody else may use it meanwhile."""
    await client.initialize()
    line = client.connection or await client.connection_pool.get_connection()
    try:
        await line.send_packed_command(line.pack_commands(commands))
        return [await _reply(line) for _ in commands]
    finally:
        if line is not client.connection:
            await client.connection_pool.release(line)


async def _reply(line: Any) -> Any:
    try:
        return await line.read_response()
    except ResponseError as error:
        return error


def connect_for_thread(settings: RedisSettings) -> SyncRedis:
    """One connection for a thread of its own."""
    retry = Retry(FullJitterBackoff(cap=0.5, base=0.02), 1, supported_errors=_ENDS_LINE)
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
        credential_provider=_credentials(settings),
    )


class _PasswordFile(CredentialProvider):
    """Asked for each new connection."""

    def __init__(self, user: str, path: Path) -> None:
        self._user, self._path = user, path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = self._path.read_text().strip()
        except (OSError, ValueError) as error:
            # It may come: whatever writes it may start later.
            raise ConnectionError("the file of the password cannot be read") from error
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def _credentials(settings: RedisSettings) -> CredentialProvider | None:
    """None: those in the URL, if any."""
    path = settings.redis_password_file
    return _PasswordFile(settings.redis_user, Path(path)) if path else None


@contextmanager
def translated() -> Iterator[None]:
    """Raise BackendUnavailable for what passes when Redis is back, CallRefused for what Redis refuses to this call."""
    try:
        yield
    except (ConnectionError, TimeoutError, OSError) as error:
        raise BackendUnavailable(f"Redis does not answer ({type(error).__name__})") from error
    except NoScriptError:
        raise
    except ResponseError as error:
        if refusal := refusal_of(error):
            raise BackendUnavailable(f"Redis refuses this at the moment ({refusal})") from error
        raise CallRefused(f"Redis refuses this call ({_kind_of(error)})") from error
    except RedisError as error:
        raise BackendUnavailable(f"Redis does not answer ({type(error).__name__})") from error


def refusal_of(error: ResponseError) -> str | None:
    """The code of a refusal that passes, None if it is another error."""
    # The client library cuts the code off where it has a class for it.
    match error:
        case OutOfMemoryError():
            return "OOM"
        case ReadOnlyError():
            return "READONLY"
        case _:
            found = _PASSING.search(str(error))
            return found[1] if found else None


def _kind_of(error: ResponseError) -> str:
    """The code of the error and where in a script it was, without the values in its text."""
    text = str(error)
    line = _SCRIPT_LINE.search(text)
    return text.split(" ", 1)[0] + (f", line {line[1]} of a script" if line else "")


async def check_server(client: AsyncRedis) -> list[str]:
    """What makes this Redis unfit to keep jobs, one sentence each; empty when it is fit."""
    return faults_of(await server_facts(client))


async def server_facts(client: AsyncRedis) -> dict[str, Any]:
    """For faults_of and known_bugs.warnings_of."""
    with translated():
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

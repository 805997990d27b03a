"""Connections that leave a former master: after a failover, a connection that stays open there would read old data.

Knows no settings and makes no pool.
"""

import asyncio
import builtins
from functools import cache
from typing import Any

from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from shared_schemas.stream.redis_errors import refusal_of


class _Master:
    """The Redis behind an address, as far as this process knows. generation: grows each time a connection finds that it
    leads to a server that is no longer the master."""

    def __init__(self) -> None:
        self.generation = 0


@cache
def _master_at(url: str) -> _Master:
    return _Master()


def connection_class_for(url: str, base: Any) -> Any:
    """A subclass of base, one of redis-py's connection classes.

    It leaves a former master as soon as any connection of this process to that address has met one: what it reads there
    is old, and Redis never tells a connection that only reads. It also raises the same errors for a lost connection on
    every event loop."""
    master = _master_at(url)

    class Connection(base):  # type: ignore[misc]
        @property
        def is_stale(self) -> bool:
            return self.is_connected and self._generation != master.generation

        async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
            if not self.is_connected:
                self._generation = master.generation
            await super().connect_check_health(*arguments, **options)

        async def read_response(self, *arguments: Any, **options: Any) -> Any:
            try:
                return await super().read_response(*arguments, **options)
            except ResponseError as error:
                if refusal_of(error) == "READONLY" and self._generation == master.generation:
                    master.generation += 1
                raise

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            """As redis-py's, but without asyncio.wait_for, which makes a task for each command, and on Python 3.11
            loses a cancellation that comes as that task ends (https://github.com/python/cpython/issues/86296)."""
            if self.is_stale:
                await self.disconnect()
            if not self.is_connected:
                await self.connect_check_health(check_health=False)
            try:
                if self._writer.transport.is_closing():
                    raise ConnectionResetError
                self._writer.writelines([command] if isinstance(command, bytes) else command)
                # Nearly always the system has taken all of it by now.
                if self._writer.transport.get_write_buffer_size():
                    async with asyncio.timeout(self.socket_timeout):
                        await self._writer.drain()
            except builtins.TimeoutError:
                await self.disconnect(nowait=True)
                raise TimeoutError("Redis takes no command") from None
            # uvloop raises RuntimeError for a write to a connection that was reset while idle.
            except (OSError, RuntimeError) as error:
                await self.disconnect(nowait=True)
                raise ConnectionError("the line was closed") from error
            except BaseException:
                # Half a command may have been sent.
                await self.disconnect(nowait=True)
                raise

    return Connection

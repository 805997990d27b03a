"""Connections that leave a former master. After a failover, a connection that stays open there would read old data.

Knows no settings and makes no pool.
"""

import asyncio
import builtins
from functools import cache
from typing import Any

from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from shared_schemas.stream.redis_errors import refusal_of


class _Master:
    """What this process knows of the Redis at an address. generation: grows each time a connection finds out that its
    server is no longer the master."""

    def __init__(self) -> None:
        self.generation = 0


@cache
def _master_at(url: str) -> _Master:
    return _Master()


def connection_class_for(url: str, base: Any) -> Any:
    """A subclass of base, one of redis-py's connection classes.

    As soon as one connection of this process finds a former master at that address, all of them
    leave it. A connection that only reads gets no error from a former master. The class also raises
    the same errors for a lost connection on every event loop.
    """
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
            """As redis-py's, but without asyncio.wait_for. That makes a task for each command. On Python 3.11 it also
            loses a cancellation that comes as the task ends (https://github.com/python/cpython/issues/86296)."""
            if self.is_stale:
                await self.disconnect()
            if not self.is_connected:
                await self.connect_check_health(check_health=False)
            try:
                if self._writer.transport.is_closing():
                    raise ConnectionResetError
                self._writer.writelines([command] if isinstance(command, bytes) else command)
                # By now the system has nearly always taken all of it.
                if self._writer.transport.get_write_buffer_size():
                    async with asyncio.timeout(self.socket_timeout):
                        await self._writer.drain()
            except builtins.TimeoutError:
                await self.disconnect(nowait=True)
                raise TimeoutError("Redis takes no command") from None
            # uvloop raises RuntimeError for a write to a connection that was reset while it was idle.
            except (OSError, RuntimeError) as error:
                await self.disconnect(nowait=True)
                raise ConnectionError("the connection was closed") from error
            except BaseException:
                # A part of the command may have been sent.
                await self.disconnect(nowait=True)
                raise

    return Connection

"""One pub/sub connection with a parser of its own. Knows channels and payloads, not what they mean.

`keys` names the channels. `timeline` and `change_log` decode the payloads.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import hiredis
from redis.exceptions import ConnectionError, InvalidResponse, ResponseError

from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.redis_errors import translate_errors

_READ_BYTES = 1 << 16


class PubSubConnection:
    """One subscribed connection, shared by everything in this process that waits for messages.

    Use it as an async context. `messages` ends with BackendUnavailable when the connection breaks, when the
    server answers no ping, and when the server is no longer the master. Then open a new one, subscribe again, and
    read from the timeline or the log what was missed.
    """

    def __init__(self, client: AsyncRedis) -> None:
        # Not the client library's PubSub: it connects again by itself, from whichever task notices first. Two tasks
        # would then shake hands on one connection at the same time.
        self._connection: Any = client.connection_pool.make_connection()
        self._patience_s: float = self._connection.socket_timeout
        self._replies = hiredis.Reader(protocolError=InvalidResponse, replyError=ResponseError)
        self._is_cut = False

    async def __aenter__(self) -> "PubSubConnection":
        try:
            with translate_errors():
                await self._connection.connect()
        except BaseException:
            await self._connection.disconnect(nowait=True)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.disconnect(nowait=True)

    async def subscribe(self, *channels: str) -> None:
        """Ask for channels. `messages` confirms each with a payload of None."""
        await self._send("SUBSCRIBE", *channels)

    async def unsubscribe(self, *channels: str) -> None:
        await self._send("UNSUBSCRIBE", *channels)

    def ask(self, *, subscribe: Collection[str] = (), unsubscribe: Collection[str] = ()) -> None:
        """As subscribe, then unsubscribe, but without waiting until the system has taken the commands. Whatever is sent
        on another connection afterwards leaves this process later. BackendUnavailable."""
        writer = self._open_writer()
        asked = ((b"SUBSCRIBE", subscribe), (b"UNSUBSCRIBE", unsubscribe))
        commands = b"".join(_command(verb, channels) for verb, channels in asked if channels)
        if not commands:
            return
        try:
            writer.write(commands)
        # uvloop raises RuntimeError for a write to a connection that was reset.
        except (OSError, RuntimeError) as error:
            self._is_cut = True
            raise BackendUnavailable("Redis does not answer (the subscription was cut)") from error

    async def messages(self) -> AsyncIterator[tuple[str, bytes | None]]:
        """(channel, payload) as they come; payload None: the channel is now subscribed. Subscribe to at least one
        channel first."""
        has_pinged = False
        while True:
            replies = await self._read()
            if self._connection.is_stale:
                self._is_cut = True
                raise BackendUnavailable("another Redis is the master now (the subscription was on the former one)")
            if not replies and has_pinged:
                raise BackendUnavailable("Redis does not answer (the subscription is silent)")
            if not replies:
                await self._send("PING")
            has_pinged = not replies
            for reply in replies:
                match reply:
                    case [b"message", bytes(channel), payload]:
                        yield channel.decode(), payload
                    case [b"subscribe", bytes(channel), _]:
                        yield channel.decode(), None

    async def _read(self) -> list[Any]:
        """All replies that have come, at least one. Empty after `socket_timeout` seconds without any."""
        try:
            with translate_errors():
                return await self._replies_within(self._patience_s)
        except BackendUnavailable:
            self._is_cut = True
            raise

    async def _replies_within(self, patience_s: float) -> list[Any]:
        # Not through the client library: its reading costs more for each message than all that is done with it. The
        # connection is not closed here either, because another task may be sending a command on it.
        try:
            async with asyncio.timeout(patience_s):
                while not (replies := self._parsed()):
                    # Whoever sends on a connection that was cut closes it.
                    reader = self._connection._reader
                    data = await reader.read(_READ_BYTES) if reader is not None else b""
                    if not data:
                        raise ConnectionError("the connection was closed")
                    self._replies.feed(data)
                return replies
        except TimeoutError:
            return []

    def _parsed(self) -> list[Any]:
        replies = []
        while (reply := self._replies.gets()) is not False:
            if isinstance(reply, Exception):
                raise reply
            replies.append(reply)
        return replies

    async def _send(self, *command: str) -> None:
        self._open_writer()
        with translate_errors():
            await self._connection.send_command(*command, check_health=False)

    def _open_writer(self) -> Any:
        # Sending on a connection that is closed or stale would open it again, without its channels.
        if self._is_cut or not self._connection.is_connected or self._connection.is_stale:
            raise BackendUnavailable("Redis does not answer (the subscription was cut)")
        return self._connection._writer


def _command(verb: bytes, channels: Collection[str]) -> bytes:
    """As Redis takes it. Packing through the client library would take several times as long."""
    parts = [verb, *(channel.encode() for channel in channels)]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)

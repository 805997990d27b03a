"""One connection through the fault proxy: it moves bytes both ways as the `Network` allows.

Does not decide what a fault does: see `network`.
"""

import asyncio
import socket
import struct
from collections import deque
from contextlib import suppress

from tests.support.network import Network, Sighting, Way
from tests.support.resp import client_name_of, name_of, take_messages

CHUNK = 65_536
_QUEUED = 10_000

# A chunk, the end of the source (None), or the place of a reply that is dropped.
_Item = bytes | None | Sighting


class ProxiedConnection:
    """is_redis: parse the commands and replies that pass. cut_after: close the connection after so many bytes from the
    target."""

    def __init__(
        self, network: Network, number: int, near: asyncio.StreamWriter, *, is_redis: bool, cut_after: int | None
    ) -> None:
        self.number, self.client, self.commands = number, "", set[str]()
        self._network, self._is_redis, self._cut_after = network, is_redis, cut_after
        self._near = near
        self._far: asyncio.StreamWriter | None = None
        self._buffers = {way: bytearray() for way in Way}
        self._unanswered: deque[tuple[str, bytes]] = deque()

    async def serve(self, near: asyncio.StreamReader, far: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Return once one end has closed the connection and all bytes before that have been passed on."""
        self._far = far[1]
        async with asyncio.TaskGroup() as group:
            ways = [
                group.create_task(self._pump(Way.OUT, near, far[1], None)),
                group.create_task(self._pump(Way.BACK, far[0], self._near, self._cut_after)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()

    def cut(self, *, reset: bool) -> None:
        """Close both ends."""
        for writer in (self._near, self._far):
            if writer is None:
                continue
            if reset:
                with suppress(OSError):
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            else:
                writer.close()

    async def _pump(
        self, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int | None
    ) -> None:
        queue: asyncio.Queue[tuple[float, _Item]] = asyncio.Queue(_QUEUED)
        reading = asyncio.create_task(self._read(way, source, queue))
        try:
            await self._write(way, queue, sink, limit)
        finally:
            reading.cancel()

    async def _read(self, way: Way, source: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, _Item]]) -> None:
        loop, due = asyncio.get_running_loop(), 0.0
        chunk: bytes | None = b""
        while chunk is not None:
            try:
                chunk = await source.read(CHUNK) or None
            except OSError:
                chunk = None
            due = max(due, loop.time() + self._network.delay_s(self))
            for item in self._items(way, chunk):
                await queue.put((due, item))

    def _items(self, way: Way, chunk: bytes | None) -> list[_Item]:
        if not self._is_redis or chunk is None:
            return [chunk]
        buffer = self._buffers[way]
        buffer += chunk
        if way is Way.OUT:
            for command in take_messages(buffer):
                self._note(command)
            return [chunk]
        replies = list[_Item]()
        for reply in take_messages(buffer):
            dropped = self._drop_of(reply)
            if dropped is not None:
                return [*replies, dropped]
            replies.append(reply)
        return replies

    def _note(self, command: bytes) -> None:
        name = name_of(command)
        self.commands.add(name)
        self.client = client_name_of(command) or self.client
        self._unanswered.append((name, command))
        self._network.pass_command(self, name, command)

    def _drop_of(self, reply: bytes) -> Sighting | None:
        # Messages of a subscription are no replies to commands.
        if "SUBSCRIBE" in self.commands or not self._unanswered:
            return None
        name, command = self._unanswered.popleft()
        # After an error nothing was done. The first call of a script that Redis does not know gets one.
        if reply.startswith(b"-"):
            return None
        return self._network.drop_of(self, name, command + reply)

    async def _write(
        self, way: Way, queue: asyncio.Queue[tuple[float, _Item]], sink: asyncio.StreamWriter, limit: int | None
    ) -> None:
        while True:
            due, item = await queue.get()
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            await self._network.until_let_through(self, way)
            is_lost = way in self._network.conditions(self).lost
            match item:
                case None if is_lost:
                    await asyncio.Event().wait()
                case None:
                    return
                case Sighting():
                    self.cut(reset=True)
                    item.tell()
                    return
                case bytes() if is_lost:
                    pass
                case bytes() if self._network.is_reset(self):
                    self.cut(reset=True)
                    return
                case bytes():
                    # If the sink is closed, the source must still be read to its end.
                    with suppress(OSError):
                        await self._send(item[:limit], sink)
                    limit = None if limit is None else limit - len(item)
                    if limit is not None and limit <= 0:
                        return

    async def _send(self, chunk: bytes, sink: asyncio.StreamWriter) -> None:
        bytes_per_s = self._network.conditions(self).bytes_per_s
        piece = len(chunk) if bytes_per_s == float("inf") else max(1, int(bytes_per_s / 20))
        for at in range(0, len(chunk), max(1, piece)):
            part = chunk[at : at + piece]
            sink.write(part)
            await sink.drain()
            await asyncio.sleep(len(part) / bytes_per_s)

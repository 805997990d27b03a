"""Writes one event stream to one reader, and drops a reader that takes nothing. Knows no media type
and no ASGI.

Little is buffered for a reader beyond its socket. A stream that is complete ends normally. One that
is not, because the gateway stops or Redis is away, is cut: many clients take a normal end for the
end of all events.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
from shared_schemas.service.failpoints import failpoint

from gateway.edge.extensions import ResponseWriter
from gateway.instrument import GatewayObserver

B = TypeVar("B")

# The server waits for room before it takes a piece of any size, and not after.
PIECE_BYTES = 1 << 16


class ReaderStream(Generic[B]):
    """A Sink. encode: turns a batch into the bytes that the reader gets. keep_alive: bytes that a
    reader ignores; empty if the format has none.

    A server takes a chunk at once while its buffer for the reader has room, and nearly always it
    has. So a chunk is sent without a task, by the caller of `push`. Only if the server makes it
    wait, a task sends the rest. That task drops the reader if it takes nothing of a piece for
    timeout_s.
    """

    __slots__ = ("_encode", "_keep_alive", "_observer", "_sending", "_timeout_s", "_writer")

    def __init__(
        self,
        writer: ResponseWriter,
        encode: Callable[[B], bytes],
        observer: GatewayObserver,
        *,
        timeout_s: float,
        keep_alive: bytes,
    ) -> None:
        self._writer, self._encode, self._observer = writer, encode, observer
        self._timeout_s, self._keep_alive = timeout_s, keep_alive
        self._sending: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        return self._sending is not None

    def push(self, batch: B) -> None:
        self._push(self._encode(batch))

    def keep_alive(self) -> None:
        if self._keep_alive:
            self._push(self._keep_alive)

    async def flush(self) -> None:
        if self._sending is not None:
            await asyncio.wait([self._sending])

    async def end(self) -> None:
        await self.flush()
        self._push(b"", is_last=True)
        await self.flush()

    async def cut(self) -> None:
        await self.flush()
        if not self._writer.cut():
            await self.end()

    def abort(self) -> None:
        self._writer.abort()

    def _push(self, chunk: bytes, *, is_last: bool = False) -> None:
        sent = 0
        while sent < len(chunk) or sent == 0:
            # Most chunks are one piece.
            piece = chunk if len(chunk) <= PIECE_BYTES else chunk[sent : sent + PIECE_BYTES]
            rest = self._writer.write(piece, is_last=is_last)
            sent += PIECE_BYTES
            if rest is not None:
                self._sending = asyncio.create_task(self._finish(rest, chunk[sent:]))
                return
        failpoint("chunk_sent")

    async def _finish(self, rest: Awaitable[None] | None, left: bytes) -> None:
        """Send the rest of a chunk. rest: of the piece that the server made wait. left: the bytes
        after that piece."""
        try:
            while True:
                with anyio.move_on_after(self._timeout_s) as limit:
                    if rest is not None:
                        await rest
                if limit.cancelled_caught:
                    self._observer.slow_reader_dropped(self._timeout_s)
                    self._writer.abort()
                    return
                if not left:
                    break
                piece, left = left[:PIECE_BYTES], left[PIECE_BYTES:]
                rest = self._writer.write(piece)
            failpoint("chunk_sent")
        except Exception:  # raised by the server's `send`; nothing else awaits this task, and the reader can resume
            self._observer.stream_failed()
            self._writer.abort()
        finally:
            self._sending = None

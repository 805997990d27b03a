"""Writes responses to the transport: the head joined to the first bytes, without chunks for
HTTP/1.0, and past uvicorn for event streams.

Knows uvicorn's request cycle and no route.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.types import ASGIApp

from gateway.edge.uvicorn_parts import FlowControl, RequestResponseCycle

_CHUNKED = b"transfer-encoding: chunked\r\n"


class Pipeline(list[tuple[RequestResponseCycle, ASGIApp]]):
    """Requests that wait behind the one that is being answered. A list, since there are rarely any:
    an empty deque would take a fifteenth of the memory of an open stream."""

    def appendleft(self, request: tuple[RequestResponseCycle, ASGIApp]) -> None:
        self.insert(0, request)


class HeadJoiningTransport:
    """Sends the head of a response together with the first bytes of its body: one system call, and
    one piece for the reader, instead of two."""

    __slots__ = ("_cycle", "_head", "_transport", "is_closing")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._transport, self.is_closing = cycle, cycle.transport, cycle.transport.is_closing
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        # A 100 Continue may come before the head. Nothing follows the head in answer to HEAD.
        if self._head is None and self._cycle.response_started and self._cycle.scope["method"] != "HEAD":
            self._head = data
        elif self._head:
            self._transport.write(self._head + data)
            self._head = b""
        else:
            self._transport.write(data)

    def close(self) -> None:
        if self._head:
            self._transport.write(self._head)
        self._transport.close()


class UnchunkedTransport(HeadJoiningTransport):
    """The same for HTTP/1.0, which has no chunks: a body of unknown length ends with the connection
    (RFC 9112, section 6.1). uvicorn writes chunks all the same, and this removes their framing."""

    __slots__ = ("_is_chunked",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        super().__init__(cycle)
        self._is_chunked = False

    def write(self, data: bytes) -> None:
        if self._head is None and self._cycle.response_started:
            self._is_chunked = _CHUNKED in data
            super().write(data.replace(_CHUNKED, b"", 1))
        elif self._is_chunked:
            super().write(_without_chunks(data))
        else:
            super().write(data)


class LazyFlowControl(FlowControl):
    """Makes the event of uvicorn's FlowControl only when writing pauses, because each event has a
    deque. is_held: reading stays paused, whoever calls resume_reading."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self.read_paused, self.write_paused = transport, False, False
        self.is_held = False

    def resume_reading(self) -> None:
        if self.read_paused and not self.is_held:
            super().resume_reading()

    def pause_writing(self) -> None:
        self._is_writable_event, self.write_paused = asyncio.Event(), True

    def resume_writing(self) -> None:
        if self.write_paused:
            super().resume_writing()


class TakenOverConnection(Protocol):
    """The connection of a response that the application took over."""

    @property
    def flow(self) -> FlowControl: ...
    @property
    def transport(self) -> asyncio.Transport: ...
    def end(self, cycle: RequestResponseCycle, *, is_complete: bool = True) -> None: ...


class TransportWriter:
    """A DetachedWriter that writes to the transport itself. is_chunked: in chunks (RFC 9112,
    section 7.1), which HTTP/1.0 does not have."""

    __slots__ = ("_cycle", "_flow", "_is_chunked", "_protocol", "_transport", "on_over")

    def __init__(self, protocol: TakenOverConnection, cycle: RequestResponseCycle, *, is_chunked: bool) -> None:
        self._protocol, self._cycle, self._is_chunked = protocol, cycle, is_chunked
        self._flow, self._transport = protocol.flow, protocol.transport
        self.on_over: Callable[[], None] = lambda: None

    def write(self, piece: bytes, *, is_last: bool = False) -> Awaitable[None] | None:
        if self._flow.write_paused:
            return self._write_later(piece, is_last)
        self._write(piece, is_last)
        return None

    def cut(self) -> bool:
        if not self._transport.is_closing():
            self._protocol.end(self._cycle, is_complete=False)
        return True

    def abort(self) -> None:
        self._transport.abort()

    def when_over(self, act: Callable[[], None]) -> None:
        self.on_over = act

    async def _write_later(self, piece: bytes, is_last: bool) -> None:
        await self._flow.drain()
        self._write(piece, is_last)

    def _write(self, piece: bytes, is_last: bool) -> None:
        if self._transport.is_closing():
            return
        if not self._is_chunked:
            self._transport.write(piece)
        elif piece:
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if is_last:
            if self._is_chunked:
                self._transport.write(b"0\r\n\r\n")
            self._protocol.end(self._cycle)


def _without_chunks(data: Any) -> bytes:
    """The content of complete chunks."""
    content, at = b"", 0
    while at < len(data):
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        content += data[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
    return content

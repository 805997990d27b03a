"""uvicorn as the gateway needs it: structured logs, a bounded drain, streams that outlive the call that began them, and
no line kept open for a stalled reader."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog
import uvicorn
from shared_schemas.process import collect_seldom
from starlette.types import ASGIApp

from gateway import metrics
from gateway.settings import GatewaySettings
from gateway.streaming import TAKE_OVER
from gateway.uvicorn_parts import FlowControl, HttpToolsProtocol, RequestResponseCycle

_KEEP_ALIVE_S = 30
# For answers that nobody waits in.
_UNHEARD = asyncio.Event()


class _Pipeline(list[tuple[RequestResponseCycle, ASGIApp]]):
    """Requests behind the one that is answered: seldom any, where an empty deque takes a fifteenth of an open line."""

    def appendleft(self, request: tuple[RequestResponseCycle, ASGIApp]) -> None:
        self.insert(0, request)


class _Joined:
    """A transport that sends the head of an answer with what follows it: one call of the system, and one piece for its
    reader, instead of two."""

    __slots__ = ("_cycle", "_head", "_transport", "is_closing")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._transport, self.is_closing = cycle, cycle.transport, cycle.transport.is_closing
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        # Before the head there may be a 100 Continue, and after a HEAD nothing follows.
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


class _Flow(FlowControl):
    """As uvicorn's, with an event only where somebody may wait for it: each has a deque."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self.read_paused, self.write_paused = transport, False, False

    def pause_writing(self) -> None:
        self._is_writable_event, self.write_paused = asyncio.Event(), True

    def resume_writing(self) -> None:
        if self.write_paused:
            super().resume_writing()


class GatewayProtocol(HttpToolsProtocol):
    """Lets go of an answer that is a stream, and aborts a connection whose reader takes nothing of what is left of an
    answer for patience_s: closing it would wait for ever."""

    def __init__(self, *args: Any, patience_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience_s = patience_s
        self._check: asyncio.TimerHandle | None = None
        self._wire: _OwnWire | None = None
        self.pipeline: Any = _Pipeline()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        joined: Any = _Joined(self.cycle)
        self.cycle.transport = joined
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        extensions[TAKE_OVER] = partial(self._take_over, self.cycle)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._check is not None:
            self._check.cancel()
        self._expect_taken()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._let_go()

    def end(self, cycle: RequestResponseCycle) -> None:
        """The answer that was taken over is whole."""
        cycle.response_complete = True
        self.loop.call_soon(self._let_go)
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _take_over(self, cycle: RequestResponseCycle) -> "_OwnWire | None":
        if cycle.disconnected:
            return None
        # To uvicorn, an application may leave an answer unfinished only where its reader has left.
        cycle.disconnected = True
        # What is kept of the request is a good part of what an open line takes.
        nothing: Any = {}
        cycle.scope, cycle.message_event = nothing, _UNHEARD
        if cycle is self.cycle:
            self.scope, self.headers = nothing, []
        self._wire = _OwnWire(self, cycle)
        return self._wire

    def _let_go(self) -> None:
        if self._wire is not None:
            wire, self._wire = self._wire, None
            wire.over()

    def _expect_taken(self) -> None:
        if left := self.transport.get_write_buffer_size():
            self._check = self.loop.call_later(self._patience_s, self._check_taken, left)

    def _check_taken(self, before: int) -> None:
        if self.cycle.response_started and not self.cycle.response_complete:
            return  # The next answer is on its way, and looks after itself.
        if self.transport.get_write_buffer_size() < before:
            self._expect_taken()
        else:
            metrics.DROPPED.inc()
            structlog.get_logger().warning("slow_reader_dropped", send_timeout_s=self._patience_s)
            self.transport.abort()


class _OwnWire:
    """Straight to the transport, in chunks (RFC 9112, section 7.1)."""

    __slots__ = ("_cycle", "_flow", "_protocol", "_transport", "over")

    def __init__(self, protocol: GatewayProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol, self._cycle = protocol, cycle
        self._flow, self._transport = protocol.flow, protocol.transport
        self.over: Callable[[], None] = lambda: None

    def write(self, piece: bytes, *, is_last: bool = False) -> Awaitable[None] | None:
        if self._flow.write_paused:
            return self._write_later(piece, is_last)
        self._write(piece, is_last)
        return None

    def abort(self) -> None:
        self._transport.abort()

    def when_over(self, act: Callable[[], None]) -> None:
        self.over = act

    async def _write_later(self, piece: bytes, is_last: bool) -> None:
        await self._flow.drain()
        self._write(piece, is_last)

    def _write(self, piece: bytes, is_last: bool) -> None:
        if self._transport.is_closing():
            return
        if piece:
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if is_last:
            self._transport.write(b"0\r\n\r\n")
            self._protocol.end(self._cycle)


def serve(app: ASGIApp, settings: GatewaySettings) -> None:
    """Until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        # A factory does as well as a class.
        http=partial(GatewayProtocol, patience_s=settings.send_timeout_s),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    collect_seldom()
    structlog.get_logger().info("gateway_starting", host=settings.host, port=settings.port)
    uvicorn.Server(config).run()
